package cli

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"sigs.k8s.io/yaml"
)

// runInstall runs install with args and returns what it printed.
func runInstall(t *testing.T, args ...string) (out, errOut string, err error) {
	t.Helper()
	var outBuffer, errBuffer bytes.Buffer
	f := newFactory(genericiooptions.IOStreams{In: strings.NewReader(""), Out: &outBuffer, ErrOut: &errBuffer}, "kubectl-velero")
	f.namespace = "velero"
	cmd := newInstallCommand(f)
	cmd.SetArgs(args)
	cmd.SetOut(io.Discard)
	cmd.SetErr(io.Discard)
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	err = cmd.ExecuteContext(t.Context())
	return outBuffer.String(), errBuffer.String(), err
}

// TestInstallRefuses needs no cluster: everything here is found before one is asked.
func TestInstallRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	empty, secret := file("empty", ""), file("secret", "[default]\naws_secret_access_key = hush\n")
	good := []string{"--provider", "aws", "--bucket", "backups", "--no-secret", "--image", "executor:v1"}
	for name, test := range map[string]struct {
		args []string
		want string
	}{
		"no provider":        {[]string{"--bucket", "b", "--no-secret"}, "--provider is required; hint: --provider aws, or --no-default-backup-location to choose a location later"},
		"another provider":   {[]string{"--provider", "tape", "--bucket", "b", "--no-secret"}, `--provider: provider "tape" is not supported by this version; hint: did you mean "aws"? It is one of ["aws" "azure" "filesystem" "gcp"]`},
		"config":             {append(good, "--backup-location-config", "regoin=x"), `--backup-location-config: unknown config key "regoin"; hint: did you mean "region"?`},
		"no claim":           {[]string{"--provider", "filesystem"}, "--pvc is required with the provider filesystem; hint: name a PersistentVolumeClaim, or say with --storage-size 10Gi how large a one to make"},
		"no size":            {[]string{"--provider", "filesystem", "--storage-size", "big"}, `--storage-size "big" is no size; hint: write 10Gi`},
		"class alone":        {[]string{"--provider", "filesystem", "--pvc", "c", "--storage-class", "fast"}, "--storage-class is for a claim that is made; hint: say with --storage-size how large, or leave it out"},
		"two claims":         {[]string{"--provider", "filesystem", "--pvc", "c", "--backup-location-config", "persistentVolumeClaim=d"}, "--pvc c and --backup-location-config persistentVolumeClaim=d differ; hint: leave out one of the two"},
		"claim's name":       {[]string{"--provider", "filesystem", "--pvc", "C"}, `--pvc "C" is not a name for a PersistentVolumeClaim; hint: use lower case letters, digits, "-" and "."`},
		"claim for a cloud":  {append(good, "--storage-size", "1Gi"), `--storage-size is for the provider filesystem, and this one is "aws"; hint: leave it out, or use --provider filesystem`},
		"claim and none":     {[]string{"--no-default-backup-location", "--pvc", "c"}, "--pvc is for the default location and can't go with --no-default-backup-location; hint: leave out one of the two"},
		"key for Azure":      {[]string{"--provider", "azure", "--bucket", "b", "--encryption-key-file", secret}, `--encryption-key-file is for the provider aws, and this one is "azure"; hint: leave it out`},
		"short key":          {append(good, "--encryption-key-file", secret), "--encryption-key-file " + secret + " has 39 bytes and not 32; hint: head -c 32 /dev/urandom makes one"},
		"variable's name":    {append(good, "--pod-env", "a b=c"), `--pod-env: "a b" is not a name for a variable; hint: for example --pod-env HTTPS_PROXY=http://proxy:3128`},
		"own variable":       {append(good, "--pod-env", "VELERO_NAMESPACE=x"), `--pod-env: "VELERO_NAMESPACE" is kept for this program; hint: flags of install set what Jobs are to do`},
		"no bucket":          {[]string{"--provider", "aws", "--no-secret"}, "--bucket is required; hint: name a bucket that exists, or --no-default-backup-location to choose a location later"},
		"flag for a bucket":  {[]string{"--provider", "aws", "--bucket", "--no-secret"}, `--bucket "--no-secret" begins with a dash; hint: did the bucket's name get lost before the next flag?`},
		"slash in bucket":    {[]string{"--provider", "aws", "--bucket", "b/east/1"}, `--bucket "b/east/1" holds a slash; hint: --bucket b --prefix east/1`},
		"location and none":  {[]string{"--no-default-backup-location", "--prefix", "p"}, "--prefix is for the default location and can't go with --no-default-backup-location; hint: leave out one of the two"},
		"no credentials":     {[]string{"--provider", "aws", "--bucket", "b"}, "one of --secret-file and --no-secret is required; hint: --secret-file FILE with the storage's credentials, or --no-secret if the cloud gives pods an identity"},
		"both":               {[]string{"--no-default-backup-location", "--secret-file", secret, "--no-secret"}, "--secret-file and --no-secret can't go together; hint: leave out one of the two"},
		"no such file":       {[]string{"--no-default-backup-location", "--secret-file", "/no/such"}, "--secret-file: open /no/such: no such file or directory; hint: name a file that exists and that you may read"},
		"empty file":         {[]string{"--no-default-backup-location", "--secret-file", empty}, "--secret-file: " + empty + " is empty"},
		"folder":             {[]string{"--no-default-backup-location", "--secret-file", dir}, "--secret-file: read " + dir + ": is a directory; hint: name a file that exists and that you may read"},
		"no certificate":     {append([]string{"--cacert", secret}, good...), "--cacert " + secret + " holds no certificate in PEM form; hint: it begins with -----BEGIN CERTIFICATE-----"},
		"no image":           {append(good, "--image", ""), "--image is required, since this program is no release and has no image of its own; hint: name the executor image that you built"},
		"URL for an image":   {append(good, "--image", "https://x/y"), `--image "https://x/y" is no image name; hint: it has the form registry/repository:tag`},
		"pull policy":        {append(good, "--image-pull-policy", "always"), `--image-pull-policy "always" is not known; hint: use Always, IfNotPresent or Never`},
		"no quantity":        {append(good, "--velero-pod-mem-limit", "lots"), `--velero-pod-mem-limit "lots" is no quantity; hint: write 500m, 128Mi, or 0 for none`},
		"above the limit":    {append(good, "--velero-pod-cpu-request", "2"), "--velero-pod-cpu-request 2 is above --velero-pod-cpu-limit 1; hint: raise the limit, or set it to 0 for none"},
		"feature":            {append(good, "--features", "EnableCSI EnableAPIGroupVersions"), `--features: "EnableCSI EnableAPIGroupVersions" is no feature flag; hint: there are EnableAPIGroupVersions and EnableCSI`},
		"snapshots and not":  {append(good, "--use-volume-snapshots=false", "--snapshot-location-config", "region=x"), "--snapshot-location-config and --use-volume-snapshots=false can't go together; hint: leave out one of the two"},
		"whose snapshots":    {[]string{"--no-default-backup-location", "--use-volume-snapshots"}, "--provider is required for a snapshot location; hint: --provider aws, azure or gcp"},
		"snapshots of files": {[]string{"--provider", "filesystem", "--pvc", "c", "--use-volume-snapshots"}, `--use-volume-snapshots: provider "filesystem" takes no snapshots of disks; hint: leave it out; volumes of CSI drivers need no location`},
		"snapshots' region":  {append(good, "--use-volume-snapshots"), `--snapshot-location-config: config key "region" is missing; hint: set it to the region of the disks, such as region=eu-central-1`},
		"snapshots' config":  {append(good, "--snapshot-location-config", "regoin=x"), `--snapshot-location-config: unknown config key "regoin"; hint: did you mean "region"?`},
		"output":             {append(good, "-o", "table"), `--output "table" is not known; hint: use yaml or json`},
		"label":              {append(good, "--pod-labels", "a=b c"), "--pod-labels a=b c: a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out, _, err := runInstall(t, test.args...)
			if err == nil || err.Error() != test.want {
				t.Errorf("error\n got %v\nwant %s", err, test.want)
			}
			if out != "" {
				t.Errorf("printed %q", out)
			}
		})
	}
}

func TestInstallDryRun(t *testing.T) {
	t.Parallel()
	args := []string{"--provider", "aws", "--bucket", "backups", "--no-secret", "--image", "executor:v1", "--dry-run"}
	out, _, err := runInstall(t, args...)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out, "namespace/velero created (dry run)\n") || !strings.Contains(out, "cronjob.batch/velero-maintenance created (dry run)\n") {
		t.Errorf("printed\n%s", out)
	}
	for _, format := range []string{"yaml", "json"} {
		out, errOut, err := runInstall(t, append(args, "-o", format)...)
		if err != nil {
			t.Fatal(err)
		}
		var list struct {
			Kind  string
			Items []struct{ Kind string }
		}
		if err := yaml.Unmarshal([]byte(out), &list); err != nil {
			t.Fatal(err)
		}
		if list.Kind != "List" || len(list.Items) != 13+10 {
			t.Errorf("%s: got a %s of %d", format, list.Kind, len(list.Items))
		}
		want := `note: ClusterRole "velero" is missing its owner, ClusterRoleBinding "velero", whose UID only the cluster knows; ` +
			"deleting the binding deletes the role only if kubectl velero install made them\n"
		if diff := cmp.Diff(want, errOut); diff != "" {
			t.Errorf("%s: note (-want +got):\n%s", format, diff)
		}
	}
	out, _, err = runInstall(t, "--crds-only", "--dry-run")
	if err != nil || strings.Count(out, "\n") != 13 {
		t.Errorf("the kinds alone: %v\n%s", err, out)
	}
}

// TestInstallFeatures is not parallel: it sets the environment.
func TestInstallFeatures(t *testing.T) {
	args := []string{"--provider", "aws", "--bucket", "backups", "--no-secret", "--image", "executor:v1", "--dry-run", "-o", "yaml"}
	const unknown = "warning: --features: \"EnableMagic\" is not known and has no effect\nhint: there are EnableAPIGroupVersions and EnableCSI\n"
	for name, test := range map[string]struct {
		config  string
		args    []string
		want    string
		warning string
	}{
		"none":               {},
		"flag":               {args: []string{"--features=EnableCSI,EnableAPIGroupVersions"}, want: "EnableCSI,EnableAPIGroupVersions"},
		"config":             {config: `{"features":"EnableCSI"}`, want: "EnableCSI"},
		"the flag beats it":  {config: `{"features":"EnableCSI"}`, args: []string{"--features", "EnableAPIGroupVersions"}, want: "EnableAPIGroupVersions"},
		"an empty flag, too": {config: `{"features":"EnableCSI"}`, args: []string{"--features="}},
		"wrong type":         {config: `{"features":["EnableCSI"]}`},
		"unknown":            {args: []string{"--features=EnableMagic"}, want: "EnableMagic", warning: unknown},
	} {
		t.Run(name, func(t *testing.T) {
			home := t.TempDir()
			t.Setenv("HOME", home)
			if test.config != "" {
				writeClientConfig(t, home, test.config)
			}
			out, errOut, err := runInstall(t, append(args, test.args...)...)
			if err != nil {
				t.Fatal(err)
			}
			if got := featuresIn(t, out); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
			if !strings.HasPrefix(errOut, test.warning+"note: ") {
				t.Errorf("warned\n%s", errOut)
			}
		})
	}
}

func writeClientConfig(t *testing.T, home, content string) {
	t.Helper()
	dir := filepath.Join(home, ".config", "velero")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// featuresIn is what the PodTemplate among the objects gives to Jobs.
func featuresIn(t *testing.T, objects string) string {
	t.Helper()
	var list struct {
		Items []struct {
			Kind     string
			Template corev1.PodTemplateSpec
		}
	}
	if err := yaml.Unmarshal([]byte(objects), &list); err != nil {
		t.Fatal(err)
	}
	for _, item := range list.Items {
		if item.Kind != "PodTemplate" {
			continue
		}
		for _, env := range item.Template.Spec.Containers[0].Env {
			if env.Name == "VELERO_FEATURES" {
				return env.Value
			}
		}
	}
	return ""
}

func TestIsRelease(t *testing.T) {
	t.Parallel()
	for version, want := range map[string]bool{
		"v1.2.3":                               true,
		"v1.2.3-rc.1":                          true,
		"dev":                                  false,
		"v1.2.3+dirty":                         false,
		"v0.0.0-20261122171819-3300488aabbc":   false,
		"v1.2.4-0.20261122171819-3300488aabbc": false,
		"v1.2.3-rc.1.0.20261122171819-3300488aabbc": false,
	} {
		if got := isRelease(version); got != want {
			t.Errorf("%s: got %v, want %v", version, got, want)
		}
	}
}
