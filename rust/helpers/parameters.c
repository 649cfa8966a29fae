// SPDX-License-Identifier: GPL-2.0
/*
 * Module parameters of banyan.ko that are strings, which the kernel crate's module! lacks. modprobe takes them from the kernel
 * command line (banyan.cluster=NAME and so on). They are where the settings in /sys/kernel/banyan begin.
 */
#include <linux/moduleparam.h>
#include <linux/types.h>

#include "parameters.h"

static char *values[BANYAN_PARAMETER_COUNT];

module_param_named(cluster, values[BANYAN_PARAMETER_CLUSTER], charp, 0);
MODULE_PARM_DESC(cluster, "name of the cluster");
module_param_named(node, values[BANYAN_PARAMETER_NODE], charp, 0);
MODULE_PARM_DESC(node, "node id, 1 to 127; else the low 7 bits of the address");
module_param_named(address, values[BANYAN_PARAMETER_ADDRESS], charp, 0);
MODULE_PARM_DESC(address, "own IPv4 address; else that of an interface");
module_param_named(port, values[BANYAN_PARAMETER_PORT], charp, 0);
MODULE_PARM_DESC(port, "TCP port, 7227 unless told otherwise");
module_param_named(join, values[BANYAN_PARAMETER_JOIN], charp, 0);
MODULE_PARM_DESC(join, "members to join by: ADDR[,ADDR|ADDR-LAST]...");

/* Read elsewhere: taken here only so that their place on the kernel command line is no news. */
static char *others[2];
module_param_named(home, others[0], charp, 0);
MODULE_PARM_DESC(home, "for the boot of the node, not for the module");
module_param_named(coldplug, others[1], charp, 0);
MODULE_PARM_DESC(coldplug, "for the boot of the node, not for the module");

const char *banyan_parameter(enum banyan_parameter which)
{
	return (unsigned int)which < BANYAN_PARAMETER_COUNT ? values[which] : NULL;
}
