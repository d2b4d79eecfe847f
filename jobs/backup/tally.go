package backup

import (
	"github.com/kubectl-velero/kubectl-velero/pkg/archive"
	"github.com/kubectl-velero/kubectl-velero/pkg/cluster"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
)

// Why an object that was read is not stored. The texts are the reasons in the
// coverage.
const (
	reasonDeleting       = "being deleted"
	reasonExcludeLabel   = "labelled velero.io/exclude-from-backup=true"
	reasonNamespaceLabel = "its namespace is labelled velero.io/exclude-from-backup=true"
	reasonNamespace      = "namespace not selected"
	reasonNotActive      = "namespace not active"
	reasonLabels         = "label selector doesn't match"
	reasonNotIncluded    = "not among the included objects"
	reasonExcludedName   = "among the excluded objects"
	reasonOurs           = "does the work of kubectl-velero itself"
	reasonCredentials    = "holds the key of a storage location or repository"
	reasonStorage        = "holds the backups of a storage location"
	reasonHook           = "pre hook failed"
	reasonGone           = "deleted during the backup"
	reasonBroken         = "can't be stored"
	reasonNoSnapshot     = "its snapshot failed"
)

// kind is one kind in one version on its way into the archive. It is used by
// one goroutine at a time.
type kind struct {
	cluster.Resource
	// preferred says that the version is the one that a restore reads.
	preferred bool
	// wanted says that its objects are selected by themselves.
	wanted bool

	coverage report.KindCoverage
	// done holds the objects that were taken before the list, out of turn.
	done map[place]bool
	// out is where its objects go; nil before the first.
	out *archive.Kind
	// body is scratch space for one object.
	body []byte
	// namespace is that of the last stored object, and already noted.
	namespace string
}

func newKind(res cluster.Resource, preferred bool) *kind {
	return &kind{
		Resource: res, preferred: preferred,
		coverage: report.KindCoverage{Resource: res.GroupResource().String(), Version: res.Version, Namespaced: res.Namespaced},
	}
}

// state says what was done about the kind, and why not more.
func (k *kind) state(state report.KindState, reason string) *kind {
	k.coverage.State, k.coverage.Reason = state, reason
	return k
}

func (k *kind) skip(reason string) {
	if k.coverage.Skipped == nil {
		k.coverage.Skipped = map[string]int{}
	}
	k.coverage.Skipped[reason]++
}

// coverage is the table of all kinds.
func coverage(kinds []*kind) report.Coverage {
	table := report.Coverage{Kinds: make([]report.KindCoverage, 0, len(kinds))}
	for _, k := range kinds {
		table.Kinds = append(table.Kinds, k.coverage)
	}
	return table
}
