package v2alpha1

// NodeOS is the operating system of a node.
//
// +kubebuilder:validation:Enum=auto;linux;windows
type NodeOS string

// The operating systems of nodes.
const (
	// NodeOSAuto leaves the choice to the data mover.
	NodeOSAuto    NodeOS = "auto"
	NodeOSLinux   NodeOS = "linux"
	NodeOSWindows NodeOS = "windows"
)
