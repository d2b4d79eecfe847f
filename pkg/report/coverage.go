package report

// Coverage says what became of every kind that the cluster serves. For each,
// Listed + Related − the sum of Skipped = Stored.
type Coverage struct {
	Kinds []KindCoverage `json:"kinds"`
}

// KindState is what was done about a kind.
type KindState string

// What can be done about a kind.
const (
	// KindListed means that all of its selected objects were read.
	KindListed KindState = "listed"
	// KindForbidden means that the executor's account may not list it.
	KindForbidden KindState = "forbidden"
	// KindFailed means that it couldn't be listed to the end for another reason.
	KindFailed KindState = "failed"
	// KindExcluded means that the selection leaves it out; objects that others
	// need may have been stored all the same.
	KindExcluded KindState = "excluded"
	// KindNotListable means that it has no objects to store: it can't be listed,
	// created, read and deleted, or shows the objects of another kind.
	KindNotListable KindState = "notListable"
)

// KindCoverage is one line of a Coverage.
type KindCoverage struct {
	// Resource is the plural name and group: "deployments.apps".
	Resource   string    `json:"resource"`
	Version    string    `json:"version"`
	Namespaced bool      `json:"namespaced"`
	State      KindState `json:"state"`
	// Reason says why the state isn't KindListed.
	Reason string `json:"reason,omitempty"`
	// Listed counts the objects that its lists returned, Related those read
	// besides because stored objects need them.
	Listed  int `json:"listed"`
	Related int `json:"related"`
	// Stored counts the objects in the archive, Bytes the size of their JSON.
	Stored int   `json:"stored"`
	Bytes  int64 `json:"bytes"`
	// Skipped counts the objects that were read and not stored, by reason.
	Skipped map[string]int `json:"skipped,omitempty"`
}
