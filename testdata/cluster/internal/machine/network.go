// Package machine is what a full cluster asks of the machine that it runs on:
// namespaces, a network link, control groups, and the settings that a kubelet
// changes. All of it is given back: what belongs to one cluster bears the
// cluster's ID, what several share is kept in a Registry.
package machine

import (
	"errors"
	"fmt"
	"net/netip"
)

// networks is how many full clusters find an address on one machine.
const networks = 250

// Network holds the addresses of one full cluster.
type Network struct {
	Index int          `json:"index"`
	Link  Link         `json:"link"`
	Pods  netip.Prefix `json:"pods"`
	// Services may be the same for all: they exist inside the cluster only.
	Services netip.Prefix `json:"services"`
}

// Link is the pair of interfaces between the machine and the cluster.
type Link struct {
	Prefix netip.Prefix `json:"prefix"`
	Node   netip.Addr   `json:"node"` // the cluster's end
	Host   netip.Addr   `json:"host"` // the machine's end
}

// NetworkAt returns the addresses that belong to index, which starts at 0.
func NetworkAt(index int) Network {
	link := netip.AddrFrom4([4]byte{10, 98, byte(index), 0})
	return Network{
		Index: index,
		Link: Link{
			Prefix: netip.PrefixFrom(link, 30),
			Node:   link.Next(),
			Host:   link.Next().Next(),
		},
		Pods:     netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 99, byte(index), 0}), 24),
		Services: ServiceRange(),
	}
}

// ServiceRange is the range of service addresses in every cluster.
func ServiceRange() netip.Prefix { return netip.MustParsePrefix("10.97.0.0/16") }

// ChooseNetwork returns the first network that overlaps with nothing in use;
// preferred is looked at first.
func ChooseNetwork(preferred int, used []netip.Prefix) (Network, error) {
	for i := -1; i < networks; i++ {
		index := i
		if i < 0 {
			index = preferred
		}
		if n := NetworkAt(index); !overlapsAny(n.Link.Prefix, used) && !overlapsAny(n.Pods, used) {
			return n, nil
		}
	}
	return Network{}, errors.New("choose addresses for the cluster: the machine uses all of 10.98.0.0/16 or 10.99.0.0/16" +
		"; hint: end other clusters, or the VPN that routes these ranges")
}

func overlapsAny(p netip.Prefix, used []netip.Prefix) bool {
	for _, u := range used {
		if p.Overlaps(u) {
			return true
		}
	}
	return false
}

func (n Network) String() string {
	return fmt.Sprintf("node %s, host %s, pods %s", n.Link.Node, n.Link.Host, n.Pods)
}
