# SPDX-License-Identifier: GPL-2.0
"""The test bed: a cluster of virtual machines on this machine (scripts/cluster)."""
