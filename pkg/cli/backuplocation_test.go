package cli

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
)

// validCertificate is one in PEM that nobody trusts: only its form matters.
func validCertificate(t *testing.T) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func location(name string, changes ...func(*velerov1.BackupStorageLocation)) velerov1.BackupStorageLocation {
	l := velerov1.BackupStorageLocation{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"team": "a"}},
		Spec: velerov1.BackupStorageLocationSpec{
			Provider:      "aws",
			ObjectStorage: &velerov1.ObjectStorageLocation{Bucket: "backups"},
		},
	}
	for _, change := range changes {
		change(&l)
	}
	return l
}

func TestLocationTable(t *testing.T) {
	t.Parallel()
	validated, synced := metav1.NewTime(now.Add(-time.Minute)), metav1.NewTime(now.Add(-time.Hour))
	locations := []velerov1.BackupStorageLocation{
		location("default", func(l *velerov1.BackupStorageLocation) {
			l.Spec.Default = true
			l.Spec.ObjectStorage.Prefix = "east/1"
			l.Status = velerov1.BackupStorageLocationStatus{
				Phase: velerov1.BackupStorageLocationPhaseAvailable, LastValidationTime: &validated, LastSyncedTime: &synced,
			}
		}),
		location("old", func(l *velerov1.BackupStorageLocation) {
			l.Spec.Provider = "velero.io/azure"
			l.Spec.AccessMode = velerov1.BackupStorageLocationAccessModeReadOnly
			l.Spec.Credential = &corev1.SecretKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: "azure"}, Key: "cloud"}
			l.Status = velerov1.BackupStorageLocationStatus{
				Phase: velerov1.BackupStorageLocationPhaseUnavailable, LastValidationTime: &validated, Message: `container "backups" does not exist`,
			}
		}),
		location("new"),
	}
	for name, args := range map[string][]string{
		"backup-locations.txt":        nil,
		"backup-locations-wide.txt":   {"-o", "wide"},
		"backup-locations-labels.txt": {"--show-labels", "-L", "team"},
	} {
		printedTable(t, name, args, locationTable(locations))
	}
	snapshots := []velerov1.VolumeSnapshotLocation{
		{ObjectMeta: metav1.ObjectMeta{Name: "default"}, Spec: velerov1.VolumeSnapshotLocationSpec{Provider: "aws"}},
		{ObjectMeta: metav1.ObjectMeta{Name: "disks"}, Spec: velerov1.VolumeSnapshotLocationSpec{Provider: "velero.io/gcp", Credential: locations[1].Spec.Credential}},
	}
	printedTable(t, "snapshot-locations.txt", nil, snapshotLocationTable(snapshots))
	printedTable(t, "snapshot-locations-wide.txt", []string{"-o", "wide"}, snapshotLocationTable(snapshots))
}

// printedTable compares with a golden file what the flags in args make of a table.
func printedTable(t *testing.T, name string, args []string, table *metav1.Table) {
	t.Helper()
	o, cmd := newOutput(""), &cobra.Command{}
	o.add(cmd, true)
	if err := cmd.ParseFlags(args); err != nil {
		t.Fatal(err)
	}
	var out, errOut bytes.Buffer
	if err := o.printTable(&out, &errOut, table, "velero"); err != nil {
		t.Fatal(err)
	}
	golden(t, name, out.String())
}

func TestLocationObject(t *testing.T) {
	t.Parallel()
	ca := filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(ca, validCertificate(t), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, args := range map[string][]string{
		"backup-location-s3.yaml": {
			"east", "--provider", "aws", "--bucket", "backups", "--prefix", "/shop/", "--config", "region=us-east-1,s3ForcePathStyle=true",
			"--credential", "east=cloud", "--labels", "team=a", "--default", "--access-mode", "ReadOnly",
			"--backup-sync-period", "0", "--validation-frequency", "5m", "--insecure-skip-tls-verify",
		},
		"backup-location-ref.yaml":  {"local", "--provider", "velero.io/aws", "--bucket", "backups", "--config", "s3Url=https://s3.example.com", "--cacert-ref", "ca=ca.crt"},
		"backup-location-disk.yaml": {"disk", "--provider", "filesystem", "--pvc", "backups"},
	} {
		out, _, err := runCommand(t, append(append([]string{"backup-location", "create"}, args...), "-n", "velero", "-o", "yaml")...)
		if err != nil {
			t.Fatal(err)
		}
		golden(t, name, out)
	}
	out, _, err := runCommand(t, "create", "backup-location", "local", "--provider", "aws", "--bucket", "b", "--cacert", ca, "-o", "jsonpath={.spec.objectStorage.caCert}")
	if err != nil || out == "" {
		t.Errorf("certificate %q, %v", out, err)
	}
	out, _, err = runCommand(t, "bsl", "create", "local", "--provider", "aws", "--bucket", "b", "--dry-run")
	if err != nil || out != "backupstoragelocation.velero.io/local created (dry run)\n" {
		t.Errorf("dry run: %q, %v", out, err)
	}
}

// TestLocationRefuses needs no cluster: everything here is found before one is asked.
func TestLocationRefuses(t *testing.T) {
	t.Parallel()
	none := filepath.Join(t.TempDir(), "none.crt")
	if err := os.WriteFile(none, []byte("hush"), 0o600); err != nil {
		t.Fatal(err)
	}
	const providers = "aws, azure, filesystem and gcp"
	create := func(more ...string) []string {
		return append([]string{"backup-location", "create", "x", "--provider", "aws", "--bucket", "b"}, more...)
	}
	for name, test := range map[string]struct {
		args []string
		want string
	}{
		"no name":             {[]string{"backup-location", "create"}, "the name of the backup-location is missing; hint: kubectl velero backup-location create NAME --provider PROVIDER --bucket BUCKET [flags]"},
		"bad name":            {[]string{"backup-location", "create", "X", "--provider", "aws", "--bucket", "b"}, `"X" is not a name for a storage location; hint: use lower case letters, digits, "-" and ".", and at most 253 of them`},
		"no provider":         {[]string{"backup-location", "create", "x", "--bucket", "b"}, "--provider is required; hint: there are " + providers},
		"unknown provider":    {create("--provider", "asw"), `--provider: provider "asw" is not supported by this version; hint: did you mean "aws"? It is one of ["aws" "azure" "filesystem" "gcp"]`},
		"no bucket":           {[]string{"backup-location", "create", "x", "--provider", "gcp"}, "--bucket is required; hint: name a bucket that exists"},
		"slash":               {create("--bucket", "b/p"), `--bucket "b/p" holds a slash; hint: --bucket b --prefix p`},
		"config":              {create("--config", "s3url=http://x"), `--config: unknown config key "s3url"; hint: did you mean "s3Url"?`},
		"config value":        {create("--config", "s3ForcePathStyle=yes"), `--config: config key "s3ForcePathStyle": "yes" is not a boolean; hint: set it to "true" or "false"`},
		"two certificates":    {create("--cacert", none, "--cacert-ref", "a=b"), "--cacert and --cacert-ref can't be used together; hint: leave out one of the two"},
		"no certificate":      {create("--cacert", none), "--cacert " + none + " holds no certificate in PEM form; hint: it begins with -----BEGIN CERTIFICATE-----"},
		"no file":             {create("--cacert", "/no/such"), "--cacert: open /no/such: no such file or directory; hint: name a file that exists and that you may read"},
		"no claim":            {[]string{"backup-location", "create", "x", "--provider", "filesystem"}, "--pvc is required with the provider filesystem; hint: name the PersistentVolumeClaim that holds the backups"},
		"claim for a bucket":  {create("--pvc", "c"), `--pvc is for the provider filesystem, and this one is "aws"; hint: leave it out, or use --provider filesystem`},
		"credential":          {create("--credential", "x"), `invalid argument "x" for "--credential" flag: "x" is not of the form SECRET=KEY; hint: name one Secret and the key in it, such as cloud-credentials=cloud`},
		"negative":            {create("--backup-sync-period", "-1m"), `invalid argument "-1m" for "--backup-sync-period" flag: "-1m" is negative; hint: durations count from now on, as in 720h`},
		"access mode":         {create("--access-mode", "WriteOnly"), `invalid argument "WriteOnly" for "--access-mode" flag: "WriteOnly" is not known; hint: there are ReadWrite and ReadOnly`},
		"label":               {create("--labels", "a=b c"), "--labels: Invalid value: \"b c\": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"},
		"set the bucket":      {[]string{"backup-location", "set", "x", "--bucket", "b"}, "unknown flag: --bucket"},
		"set a bare key":      {[]string{"backup-location", "set", "x", "--config", "region"}, `invalid argument "region" for "--config" flag: "region" is neither KEY=VALUE nor KEY-; hint: KEY- takes a key out`},
		"delete nothing":      {[]string{"backup-location", "delete"}, "say what to delete in exactly one way: names, --all or --selector"},
		"delete twice":        {[]string{"backup-location", "delete", "x", "--all"}, "say what to delete in exactly one way: names, --all or --selector"},
		"sync nothing":        {[]string{"backup-location", "sync"}, "say what to sync in exactly one way: names or --all"},
		"check a size":        {[]string{"backup-location", "check", "x", "--size", "1q"}, `invalid argument "1q" for "--size" flag: "1q" is no size; hint: write 64Mi, or 0 for none`},
		"adopt nobody":        {[]string{"backup-location", "adopt", "x"}, "--cluster-id is missing; hint: `backup-location check` lists the clusters whose backups are there; \"unknown\" stands for those that don't say"},
		"adopt a name":        {[]string{"backup-location", "adopt", "x", "--cluster-id", "prod"}, "--cluster-id \"prod\" is no id of a cluster; hint: it is the UID of that cluster's namespace kube-system, as `backup-location check` lists it, or \"unknown\""},
		"snapshots: provider": {[]string{"snapshot-location", "create", "x"}, "--provider is required; hint: for example --provider aws"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out, _, err := runCommand(t, test.args...)
			if err == nil || err.Error() != test.want {
				t.Errorf("error\n got %v\nwant %s", err, test.want)
			}
			if out != "" || err != nil && strings.Contains(err.Error(), "hush") {
				t.Errorf("printed %q, error %v", out, err)
			}
		})
	}
}

func TestLocationSetChanges(t *testing.T) {
	t.Parallel()
	ca := filepath.Join(t.TempDir(), "ca.crt")
	text := validCertificate(t)
	if err := os.WriteFile(ca, text, 0o600); err != nil {
		t.Fatal(err)
	}
	before := location("x", func(l *velerov1.BackupStorageLocation) {
		l.Spec.Config = map[string]string{"region": "x", "insecureSkipTLSVerify": "true"}
		l.Spec.ObjectStorage.CACert = []byte("old")
		l.Spec.Credential = selectorOf("east", "cloud")
	})
	for name, test := range map[string]struct {
		args []string
		want func(*velerov1.BackupStorageLocationSpec)
	}{
		"the certificate stays": {[]string{"--default"}, func(s *velerov1.BackupStorageLocationSpec) { s.Default = true }},
		"another certificate":   {[]string{"--cacert", ca}, func(s *velerov1.BackupStorageLocationSpec) { s.ObjectStorage.CACert = text }},
		"no certificate":        {[]string{"--cacert", ""}, func(s *velerov1.BackupStorageLocationSpec) { s.ObjectStorage.CACert = nil }},
		"from a Secret": {[]string{"--cacert-ref", "ca=ca.crt"}, func(s *velerov1.BackupStorageLocationSpec) {
			s.ObjectStorage.CACert, s.ObjectStorage.CACertRef = nil, selectorOf("ca", "ca.crt")
		}},
		"no Secret":     {[]string{"--cacert-ref", ""}, func(*velerov1.BackupStorageLocationSpec) {}},
		"credential":    {[]string{"--credential", "west=key"}, func(s *velerov1.BackupStorageLocationSpec) { s.Credential = selectorOf("west", "key") }},
		"no credential": {[]string{"--credential", ""}, func(s *velerov1.BackupStorageLocationSpec) { s.Credential = nil }},
		"config": {[]string{"--config", "region-,partSizeMiB=64"}, func(s *velerov1.BackupStorageLocationSpec) {
			s.Config = map[string]string{"partSizeMiB": "64", "insecureSkipTLSVerify": "true"}
		}},
		"secure again": {[]string{"--insecure-skip-tls-verify=false"}, func(s *velerov1.BackupStorageLocationSpec) { s.Config = map[string]string{"region": "x"} }},
		"read-only": {[]string{"--access-mode", "ReadOnly"}, func(s *velerov1.BackupStorageLocationSpec) {
			s.AccessMode = velerov1.BackupStorageLocationAccessModeReadOnly
		}},
		"never by itself": {[]string{"--backup-sync-period", "0"}, func(s *velerov1.BackupStorageLocationSpec) { s.BackupSyncPeriod = &metav1.Duration{} }},
		"how often to try": {[]string{"--validation-frequency", "1h"}, func(s *velerov1.BackupStorageLocationSpec) {
			s.ValidationFrequency = &metav1.Duration{Duration: time.Hour}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o, cmd := &locationSet{}, &cobra.Command{}
			o.add(cmd.Flags())
			if err := cmd.ParseFlags(test.args); err != nil {
				t.Fatal(err)
			}
			got, err := o.changed(&before)
			if err != nil {
				t.Fatal(err)
			}
			want := before.DeepCopy()
			test.want(&want.Spec)
			if diff := cmp.Diff(want.Spec, got.Spec); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func selectorOf(secret, key string) *corev1.SecretKeySelector {
	return &corev1.SecretKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: secret}, Key: key}
}

func TestAdopt(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		before string
		o      locationAdopt
		want   []string
	}{
		"the first":    {"", locationAdopt{ids: []string{"unknown"}}, []string{"unknown"}},
		"one more":     {"b", locationAdopt{ids: []string{"c", "a"}}, []string{"a", "b", "c"}},
		"again":        {"b,a", locationAdopt{ids: []string{"a"}}, []string{"a", "b"}},
		"taken away":   {"b,a", locationAdopt{ids: []string{"a"}, remove: true}, []string{"b"}},
		"not there":    {"b", locationAdopt{ids: []string{"a"}, remove: true}, []string{"b"}},
		"the last one": {" b ,", locationAdopt{ids: []string{"b"}, remove: true}, []string{}},
	} {
		l := location("x", func(l *velerov1.BackupStorageLocation) {
			l.Annotations = map[string]string{velerov1.AdoptedClustersAnnotation: test.before}
		})
		if diff := cmp.Diff(test.want, test.o.apply(adopted(&l))); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// TestBucketFlags is not parallel: it sets the environment.
func TestBucketFlags(t *testing.T) {
	text := validCertificate(t)
	ca := filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(ca, text, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		flag, config     string
		want             []byte
		wantErr, warning string
	}{
		"nothing":         {},
		"flag":            {flag: ca, want: text},
		"config":          {config: `{"cacert":"` + ca + `"}`, want: text},
		"flag is missing": {flag: "/no/such", wantErr: "--cacert: open /no/such: no such file or directory; hint: name a file that exists and that you may read"},
		"config is missing": {
			config:  `{"cacert":"/no/such"}`,
			warning: "warning: the storage location's certificates are used, since cacert of the client config file: open /no/such: no such file or directory\nhint: name a file that exists and that you may read\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			home := t.TempDir()
			t.Setenv("HOME", home)
			if test.config != "" {
				writeClientConfig(t, home, test.config)
			}
			f, _, errOut := testFactory()
			trust, err := (&bucketFlags{cacert: test.flag}).trust(f)
			if err == nil && test.wantErr != "" || err != nil && err.Error() != test.wantErr {
				t.Fatalf("got %v, want %s", err, test.wantErr)
			}
			if !bytes.Equal(trust.CACert, test.want) || errOut.String() != test.warning {
				t.Errorf("got %q, told %q", trust.CACert, errOut.String())
			}
		})
	}
}
