package volume

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/store/settings"
)

// ChooseLocations says which snapshot locations a backup uses: those it names, and of
// each other provider the only one that there is, as in Velero. The locations are in
// the order of names, then by name. Problems are what keeps the backup from starting,
// all of them; they name the field and the way out.
func ChooseLocations(names []string, all []velerov1.VolumeSnapshotLocation) (chosen []velerov1.VolumeSnapshotLocation, problems []string) {
	byProvider := map[string]string{}
	for _, name := range names {
		i := slices.IndexFunc(all, func(l velerov1.VolumeSnapshotLocation) bool { return l.Name == name })
		if i < 0 {
			problems = append(problems, fmt.Sprintf("spec.volumeSnapshotLocations: there is no snapshot location %q; hint: %s", name, known(all)))
			continue
		}
		provider := settings.SnapshotProvider(all[i].Spec.Provider)
		switch other, taken := byProvider[provider]; {
		case taken && other == name:
			continue
		case taken:
			problems = append(problems, fmt.Sprintf("spec.volumeSnapshotLocations: %q and %q are both of provider %s; hint: name one of each provider", other, name, provider))
			continue
		}
		byProvider[provider] = name
		chosen = append(chosen, all[i])
	}
	more, ambiguous := onlyOnes(all, byProvider)
	return append(chosen, more...), append(problems, ambiguous...)
}

// onlyOnes returns the locations of the providers that aren't settled yet.
func onlyOnes(all []velerov1.VolumeSnapshotLocation, settled map[string]string) (chosen []velerov1.VolumeSnapshotLocation, problems []string) {
	others := map[string][]velerov1.VolumeSnapshotLocation{}
	for _, location := range all {
		provider := settings.SnapshotProvider(location.Spec.Provider)
		if _, ok := settled[provider]; !ok {
			others[provider] = append(others[provider], location)
		}
	}
	for provider, locations := range others {
		if len(locations) == 1 {
			chosen = append(chosen, locations[0])
			continue
		}
		problems = append(problems, fmt.Sprintf("spec.volumeSnapshotLocations: provider %s has several snapshot locations and none of them is named; hint: name one with --volume-snapshot-locations: %s",
			provider, nameList(locations)))
	}
	slices.SortFunc(chosen, func(a, b velerov1.VolumeSnapshotLocation) int { return cmp.Compare(a.Name, b.Name) })
	slices.Sort(problems)
	return chosen, problems
}

func known(all []velerov1.VolumeSnapshotLocation) string {
	if len(all) == 0 {
		return "there is none at all; make one with `kubectl velero snapshot-location create`"
	}
	return "there are " + nameList(all)
}

func nameList(locations []velerov1.VolumeSnapshotLocation) string {
	names := make([]string, 0, len(locations))
	for _, location := range locations {
		names = append(names, location.Name)
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}
