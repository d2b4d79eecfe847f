package volume

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
)

func location(name, provider string) velerov1.VolumeSnapshotLocation {
	return velerov1.VolumeSnapshotLocation{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: velerov1.VolumeSnapshotLocationSpec{Provider: provider}}
}

func TestChooseLocations(t *testing.T) {
	t.Parallel()
	east, west, disks := location("east", "aws"), location("west", "velero.io/aws"), location("disks", "azure")
	other := location("other", "example.com/disks")
	for name, c := range map[string]struct {
		names    []string
		all      []velerov1.VolumeSnapshotLocation
		want     string
		problems []string // parts, one of each problem
	}{
		"none at all":         {},
		"the only one":        {all: []velerov1.VolumeSnapshotLocation{east}, want: "east"},
		"one of each":         {all: []velerov1.VolumeSnapshotLocation{other, east, disks}, want: "disks east other"},
		"named":               {names: []string{"west"}, all: []velerov1.VolumeSnapshotLocation{east, west}, want: "west"},
		"named, and an other": {names: []string{"west"}, all: []velerov1.VolumeSnapshotLocation{disks, east, west}, want: "west disks"},
		"named twice":         {names: []string{"east", "east"}, all: []velerov1.VolumeSnapshotLocation{east}, want: "east"},
		"two of a provider": {
			names: []string{"east", "west"}, all: []velerov1.VolumeSnapshotLocation{east, west}, want: "east",
			problems: []string{`"east" and "west" are both of provider velero.io/aws`},
		},
		"none named": {
			all: []velerov1.VolumeSnapshotLocation{west, east, disks}, want: "disks",
			problems: []string{"provider velero.io/aws has several snapshot locations and none of them is named; hint: name one with --volume-snapshot-locations: east, west"},
		},
		"missing": {
			names: []string{"north"}, all: []velerov1.VolumeSnapshotLocation{disks}, want: "disks",
			problems: []string{`there is no snapshot location "north"; hint: there are disks`},
		},
		"missing among none": {names: []string{"north"}, problems: []string{"there is none at all"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			chosen, problems := ChooseLocations(c.names, c.all)
			var got []string
			for _, l := range chosen {
				got = append(got, l.Name)
			}
			if diff := cmp.Diff(strings.Fields(c.want), got, equateEmpty); diff != "" {
				t.Error(diff)
			}
			if len(problems) != len(c.problems) {
				t.Fatalf("problems: %q", problems)
			}
			for i, want := range c.problems {
				if !strings.Contains(problems[i], want) || !strings.HasPrefix(problems[i], "spec.volumeSnapshotLocations: ") {
					t.Errorf("%q lacks %q", problems[i], want)
				}
			}
		})
	}
}

// equateEmpty takes nil and empty lists for the same.
var equateEmpty = cmp.Transformer("list", func(list []string) string { return strings.Join(list, " ") })
