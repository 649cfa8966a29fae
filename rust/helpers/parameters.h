/* SPDX-License-Identifier: GPL-2.0 */
/* Module parameters of banyan.ko that are strings, which the kernel crate's module! lacks. */
#ifndef BANYAN_PARAMETERS_H
#define BANYAN_PARAMETERS_H

enum banyan_parameter {
	BANYAN_PARAMETER_CLUSTER,
	BANYAN_PARAMETER_NODE,
	BANYAN_PARAMETER_ADDRESS,
	BANYAN_PARAMETER_PORT,
	BANYAN_PARAMETER_JOIN,
	BANYAN_PARAMETER_COUNT,
};

/* Returns what was given on the command line, NULL if nothing was. */
const char *banyan_parameter(enum banyan_parameter which);

#endif
