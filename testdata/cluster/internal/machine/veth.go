package machine

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// nodeInterface is what the cluster's end of the link is called.
const nodeInterface = "eth0"

// UsedPrefixes lists what the machine's addresses and routes cover, default
// routes left out.
func UsedPrefixes() ([]netip.Prefix, error) {
	routes, err := netlink.RouteList(nil, netlink.FAMILY_V4)
	if err != nil {
		return nil, fmt.Errorf("list routes: %w", err)
	}
	var used []netip.Prefix
	for _, r := range routes {
		if p, ok := prefixOf(r.Dst); ok && p.Bits() > 0 {
			used = append(used, p)
		}
	}
	addresses, err := netlink.AddrList(nil, netlink.FAMILY_V4)
	if err != nil {
		return nil, fmt.Errorf("list addresses: %w", err)
	}
	for _, a := range addresses {
		if p, ok := prefixOf(a.IPNet); ok {
			used = append(used, p.Masked())
		}
	}
	return used, nil
}

func prefixOf(n *net.IPNet) (netip.Prefix, bool) {
	if n == nil {
		return netip.Prefix{}, false
	}
	address, ok := netip.AddrFromSlice(n.IP)
	bits, _ := n.Mask.Size()
	return netip.PrefixFrom(address.Unmap(), bits), ok
}

// Connect makes the link called name between the machine and the network
// namespace of process pid, gives both ends their addresses, and sets the
// routes: the cluster's default route to the machine, the machine's route to
// the pods.
func Connect(name string, pid int, n Network) error {
	if err := connect(name, pid, n); err != nil {
		return fmt.Errorf("connect network %s: %w", name, err)
	}
	return nil
}

func connect(name string, pid int, n Network) error {
	inside, err := netns.GetFromPid(pid)
	if err != nil {
		return fmt.Errorf("open network namespace of process %d: %w", pid, err)
	}
	defer inside.Close()
	pair := &netlink.Veth{
		LinkAttrs:     netlink.LinkAttrs{Name: name},
		PeerName:      nodeInterface,
		PeerNamespace: netlink.NsFd(inside),
	}
	if err := netlink.LinkAdd(pair); err != nil {
		return fmt.Errorf("add interface: %w", err)
	}
	outer := &netlink.Handle{} // the zero handle works in our own namespace
	if err := raise(outer, name, netip.PrefixFrom(n.Link.Host, n.Link.Prefix.Bits())); err != nil {
		return err
	}
	inner, err := netlink.NewHandleAt(inside)
	if err != nil {
		return fmt.Errorf("enter network namespace of process %d: %w", pid, err)
	}
	defer inner.Close()
	if err := raise(inner, "lo", netip.Prefix{}); err != nil {
		return err
	}
	if err := raise(inner, nodeInterface, netip.PrefixFrom(n.Link.Node, n.Link.Prefix.Bits())); err != nil {
		return err
	}
	if err := addRoute(inner, netip.MustParsePrefix("0.0.0.0/0"), n.Link.Host); err != nil {
		return err
	}
	return addRoute(outer, n.Pods, n.Link.Node)
}

// raise gives an interface its address, unless that is the zero one, and
// switches it on.
func raise(h *netlink.Handle, name string, address netip.Prefix) error {
	link, err := h.LinkByName(name)
	if err != nil {
		return fmt.Errorf("find interface %s: %w", name, err)
	}
	if address.IsValid() {
		if err := h.AddrAdd(link, &netlink.Addr{IPNet: ipNet(address)}); err != nil {
			return fmt.Errorf("add address %s to %s: %w", address, name, err)
		}
	}
	if err := h.LinkSetUp(link); err != nil {
		return fmt.Errorf("switch on interface %s: %w", name, err)
	}
	return nil
}

func addRoute(h *netlink.Handle, to netip.Prefix, via netip.Addr) error {
	route := &netlink.Route{Dst: ipNet(to), Gw: net.IP(via.AsSlice())}
	if err := h.RouteAdd(route); err != nil {
		return fmt.Errorf("add route to %s via %s: %w", to, via, err)
	}
	return nil
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: net.IP(p.Addr().AsSlice()), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// Disconnect removes the link called name, if it is still there: normally it
// goes with the cluster's network namespace.
func Disconnect(name string) error {
	link, err := netlink.LinkByName(name)
	if err == nil {
		err = netlink.LinkDel(link)
	}
	if err == nil {
		return nil
	}
	// It may vanish by itself at any moment.
	if _, again := netlink.LinkByName(name); errors.As(again, &netlink.LinkNotFoundError{}) {
		return nil
	}
	return fmt.Errorf("remove network interface %s: %w", name, err)
}

// Links lists the interfaces whose names start with prefix.
func Links(prefix string) ([]string, error) {
	links, err := netlink.LinkList()
	if err != nil {
		return nil, fmt.Errorf("list network interfaces: %w", err)
	}
	var names []string
	for _, link := range links {
		if name := link.Attrs().Name; len(name) >= len(prefix) && name[:len(prefix)] == prefix {
			names = append(names, name)
		}
	}
	return names, nil
}
