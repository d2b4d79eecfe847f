package cluster

import (
	"strings"
	"testing"
)

// TestSame asks what a cluster that is there may be taken for.
func TestSame(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		asked  Manager
		mode   Mode
		there  record
		refuse string
	}{
		"the same":                      {Manager{}, ModeFull, record{Mode: ModeFull}, ""},
		"another mode":                  {Manager{}, ModeFull, record{Mode: ModeAPI}, "in mode api, not full"},
		"with a driver, which is fine":  {Manager{}, ModeFull, record{Mode: ModeFull, CSI: true}, ""},
		"without a driver":              {Manager{CSI: true}, ModeFull, record{Mode: ModeFull}, "without a CSI driver"},
		"whose storage is shared":       {Manager{CSI: true, CSIData: "/a"}, ModeFull, record{Mode: ModeFull, CSI: true, CSIData: "/a"}, ""},
		"that shares another's storage": {Manager{CSI: true, CSIData: "/a"}, ModeFull, record{Mode: ModeFull, CSI: true, CSIData: "/b"}, "without the folder /a"},
		"that shares no storage":        {Manager{CSI: true, CSIData: "/a"}, ModeFull, record{Mode: ModeFull, CSI: true}, "without the folder /a"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := tt.asked.same("x", tt.mode, &tt.there)
			if (err != nil) != (tt.refuse != "") {
				t.Fatalf("error %v", err)
			}
			if err != nil && (!strings.Contains(err.Error(), tt.refuse) || !strings.Contains(err.Error(), "cluster down --name x")) {
				t.Errorf("error %q doesn't say %q and what to do", err, tt.refuse)
			}
		})
	}
}

func TestCSIData(t *testing.T) {
	t.Parallel()
	p := testPlan(t)
	for given, want := range map[string]string{"": p.folder.join("csi"), "/other/csi": "/other/csi"} {
		p.record.CSIData = given
		if line := strings.Join(p.csiComponents()[0].args, " "); !strings.Contains(line, " -data "+want+" ") {
			t.Errorf("folder %q: the driver is started as %s", given, line)
		}
	}
}
