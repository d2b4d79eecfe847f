package check

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/catalog"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
)

// askedAtOnce is how many backups are asked at the same time whose they are.
const askedAtOnce = 16

// backups counts the backups of each cluster.
func (e *exam) backups(ctx context.Context) (report.Check, error) {
	if e.reachErr != nil {
		return report.Check{}, nil
	}
	c := catalog.New(e.bucket)
	names, err := c.Backups(ctx)
	if err != nil {
		return report.Check{}, err
	}
	if len(names) > 0 {
		e.stored = names[len(names)-1]
	}
	owners, unreadable := ownersOf(ctx, c, names)
	for _, id := range slices.Sorted(maps.Keys(owners)) {
		e.result.Clusters = append(e.result.Clusters, report.ClusterBackups{ClusterID: id, Whose: e.whose(id), Count: owners[id]})
	}
	if len(unreadable) > 0 {
		return warning(fmt.Sprintf("%s; %d can't be read, such as %q", e.belonging(len(names)), len(unreadable), unreadable[0]),
			"`backup verify` looks at one of them"), nil
	}
	result := passed("%s", e.belonging(len(names)))
	if len(names) > 0 {
		result.Hint = e.adoptHint()
	}
	return result, ctx.Err()
}

// ownersOf counts backups by the cluster that made them, and names those that
// could not be asked.
func ownersOf(ctx context.Context, c *catalog.Catalog, names []string) (counts map[string]int, unreadable []string) {
	owners, errs := make([]string, len(names)), make([]error, len(names))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(askedAtOnce)
	for i, name := range names {
		group.Go(func() error {
			owners[i], errs[i] = c.Owner(ctx, name)
			return nil
		})
	}
	_ = group.Wait() // none fails
	counts = map[string]int{}
	for i, name := range names {
		if errs[i] != nil {
			unreadable = append(unreadable, name)
			continue
		}
		counts[owners[i]]++
	}
	return counts, unreadable
}

// whose says how this cluster stands to another's backups.
func (e *exam) whose(id string) string {
	ours := catalog.OursIn(e.location, e.clusterID)
	switch {
	case id != "" && id == e.clusterID:
		return report.BackupsOurs
	case ours.Has(id):
		return report.BackupsAdopted
	case id == "":
		return report.BackupsUnknown
	}
	return report.BackupsOther
}

// belonging says whose the backups are.
func (e *exam) belonging(total int) string {
	if total == 0 {
		return "no backups yet"
	}
	words := map[string]string{
		report.BackupsOurs: "of this cluster", report.BackupsAdopted: "adopted from cluster %s", report.BackupsOther: "of cluster %s",
		report.BackupsUnknown: "that don't say which cluster made them, as a Velero server's don't",
	}
	var parts []string
	for _, c := range e.result.Clusters {
		word := strings.ReplaceAll(words[c.Whose], "%s", cmp.Or(c.ClusterID, velerov1.AdoptedUnknown))
		parts = append(parts, fmt.Sprintf("%d %s", c.Count, word))
	}
	return quantity(total, "backup") + ": " + strings.Join(parts, ", ")
}

// adoptHint is for a location with backups that expiry leaves alone.
func (e *exam) adoptHint() string {
	for _, c := range e.result.Clusters {
		if c.Whose == report.BackupsOther || c.Whose == report.BackupsUnknown {
			return fmt.Sprintf("expiry leaves other clusters' backups alone; `backup-location adopt %s --cluster-id %s` makes those this cluster's",
				e.location.Name, cmp.Or(c.ClusterID, velerov1.AdoptedUnknown))
		}
	}
	return ""
}

// shared says that backups of several clusters lie there.
func (e *exam) shared() bool {
	return slices.ContainsFunc(e.result.Clusters, func(c report.ClusterBackups) bool { return c.Whose == report.BackupsOther })
}
