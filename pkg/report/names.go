package report

import "slices"

// names holds very many names in little memory: one text and where each ends.
type names struct {
	text []byte
	ends []uint32
}

func (n *names) add(name string) {
	n.text = append(n.text, name...)
	n.ends = append(n.ends, uint32(len(n.text)))
}

// sorted returns the names in byte order.
func (n *names) sorted() []string {
	text := string(n.text)
	list := make([]string, len(n.ends))
	begin := uint32(0)
	for i, end := range n.ends {
		list[i] = text[begin:end]
		begin = end
	}
	slices.Sort(list)
	return list
}
