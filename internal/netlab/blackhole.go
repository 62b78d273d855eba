package netlab

import "github.com/vishvananda/netlink"

// Blackhole loses all that is sent into a device from now on, or no longer,
// without an error and without its link going down (net/sched/sch_blackhole.c).
// Packet sockets can not get around it as they do with a packet filter.
func Blackhole(nl *netlink.Handle, device string, on bool) error {
	link, err := nl.LinkByName(device)
	if err != nil {
		return err
	}
	q := &netlink.GenericQdisc{
		QdiscAttrs: netlink.QdiscAttrs{LinkIndex: link.Attrs().Index, Parent: netlink.HANDLE_ROOT},
		QdiscType:  "blackhole",
	}
	if on {
		return nl.QdiscReplace(q)
	}
	return nl.QdiscDel(q)
}
