package cli

import (
	"os"
	"path/filepath"
	"testing"
)

// TestClientConfig is not parallel: it sets the environment. Each step goes on
// with the file that the one before left.
func TestClientConfig(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	for _, step := range []struct {
		args                   []string
		out, errOut, wantError string
	}{
		{args: []string{"get"}},
		{args: []string{"get", "features"}, out: "features: <NOT SET>\n"},
		{args: []string{"set", "features=EnableCSI,EnableAPIGroupVersions", "namespace=backup"}},
		{args: []string{"get"}, out: "features: EnableCSI,EnableAPIGroupVersions\nnamespace: backup\n"},
		{args: []string{"set", "colorized=false"}, errOut: "warning: \"colorized\" is stored, and has no effect here\nhint: there are cacert, features and namespace\n"},
		{args: []string{"set", "features="}},
		{args: []string{"get", "features", "colorized"}, out: "features: <NOT SET>\ncolorized: false\n"},
		{args: []string{"set"}, wantError: "nothing to set; hint: kubectl velero client config set namespace=backup"},
		{args: []string{"set", "namespace"}, wantError: `"namespace" is not of the form KEY=VALUE; hint: kubectl velero client config set namespace=backup`},
		{args: []string{"get", "namespace"}, out: "namespace: backup\n"},
	} {
		out, errOut, err := runCommand(t, append([]string{"client", "config"}, step.args...)...)
		got := ""
		if err != nil {
			got = err.Error()
		}
		if out != step.out || errOut != step.errOut || got != step.wantError {
			t.Errorf("%q: printed %q and %q, error %q", step.args, out, errOut, got)
		}
	}
	path := filepath.Join(home, ".config", "velero", "config.json")
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, mode %v", err, info.Mode())
	}
	if files, err := os.ReadDir(filepath.Dir(path)); err != nil || len(files) != 1 {
		t.Errorf("left behind: %v, %v", files, err)
	}
	writeClientConfig(t, home, "{")
	if _, _, err := runCommand(t, "client", "config", "set", "namespace=x"); err == nil {
		t.Error("a broken file was written over")
	}
}
