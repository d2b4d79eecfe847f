package cli

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	velerov1 "github.com/kubectl-velero/kubectl-velero/pkg/apis/velero/v1"
	"github.com/kubectl-velero/kubectl-velero/pkg/cli/describe"
	"github.com/kubectl-velero/kubectl-velero/pkg/cli/reader"
	"github.com/kubectl-velero/kubectl-velero/pkg/report"
	"github.com/kubectl-velero/kubectl-velero/pkg/volume"
)

// runCommand runs the program without a cluster.
func runCommand(t *testing.T, args ...string) (out, errOut string, err error) {
	t.Helper()
	f, outBuffer, errBuffer := testFactory()
	root := newRoot(f)
	root.SetArgs(args)
	root.SetOut(outBuffer)
	root.SetErr(errBuffer)
	err = root.ExecuteContext(t.Context())
	return outBuffer.String(), errBuffer.String(), err
}

// tarball writes an archive of entries, which are pairs of a name and a content,
// and returns its path.
func tarball(t *testing.T, entries ...string) string {
	t.Helper()
	var body bytes.Buffer
	zip := gzip.NewWriter(&body)
	files := tar.NewWriter(zip)
	for i := 0; i < len(entries); i += 2 {
		header := &tar.Header{Name: entries[i], Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(entries[i+1]))}
		if err := files.WriteHeader(header); err != nil {
			t.Fatal(err)
		}
		if _, err := files.Write([]byte(entries[i+1])); err != nil {
			t.Fatal(err)
		}
	}
	if err := files.Close(); err != nil {
		t.Fatal(err)
	}
	if err := zip.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "shop.tar.gz")
	if err := os.WriteFile(path, body.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// aShop is an archive with an object in its preferred version, stored twice as
// the format has it, and one in another version.
func aShop(t *testing.T) string {
	const web = `{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"web","namespace":"shop"}}`
	const old = `{"apiVersion":"autoscaling/v1","kind":"HorizontalPodAutoscaler","metadata":{"name":"web","namespace":"shop"}}`
	const node = `{"apiVersion":"v1","kind":"Node","metadata":{"name":"n1"}}`
	return tarball(t, "metadata/version", "1.1.0\n",
		"resources/nodes/cluster/n1.json", node,
		"resources/nodes/v1-preferredversion/cluster/n1.json", node,
		"resources/deployments.apps/namespaces/shop/web.json", web,
		"resources/deployments.apps/v1-preferredversion/namespaces/shop/web.json", web,
		"resources/horizontalpodautoscalers.autoscaling/v1/namespaces/shop/web.json", old)
}

// sizeLine is how large the archive is, which is the compressor's affair.
var sizeLine = regexp.MustCompile(`(Size: +|"sizeBytes": )[0-9]+( B)?`)

func TestDescribeFile(t *testing.T) {
	t.Parallel()
	for name, args := range map[string][]string{
		"describe-file.txt":         {"backup", "describe"},
		"describe-file-details.txt": {"describe", "backup", "--details"},
		"describe-file.json":        {"backup", "describe", "--details", "-o", "json"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := aShop(t)
			out, errOut, err := runCommand(t, append(args, "--file", path)...)
			if err != nil || errOut != "" {
				t.Fatal(err, errOut)
			}
			out = strings.ReplaceAll(out, path, "shop.tar.gz")
			golden(t, name, sizeLine.ReplaceAllString(out, "${1}N"))
		})
	}
}

// TestDescribeFileOfVelero compares what an archive by Velero shows with the
// list that Velero wrote beside it.
func TestDescribeFileOfVelero(t *testing.T) {
	t.Parallel()
	folder := filepath.Join("..", "..", "testdata", "fixtures", "velero-1.18.0", "shop")
	packed, err := os.Open(filepath.Join(folder, "shop-resource-list.json.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer packed.Close()
	plain, err := gzip.NewReader(packed)
	if err != nil {
		t.Fatal(err)
	}
	var want map[string][]string
	if err := json.NewDecoder(plain).Decode(&want); err != nil {
		t.Fatal(err)
	}
	out, _, err := runCommand(t, "backup", "describe", "--details", "-o", "json", "--file", filepath.Join(folder, "shop.tar.gz"))
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		BackupFormatVersion string
		ResourceList        map[string][]string
	}
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		t.Fatal(err)
	}
	for _, list := range want {
		slices.Sort(list)
	}
	if diff := cmp.Diff(want, got.ResourceList); diff != "" || got.BackupFormatVersion != "1.1.0" {
		t.Errorf("format %q, resource list (-want +got):\n%s", got.BackupFormatVersion, diff)
	}
}

func TestDescribeFileRefuses(t *testing.T) {
	t.Parallel()
	whole, err := os.ReadFile(aShop(t))
	if err != nil {
		t.Fatal(err)
	}
	file := func(content []byte) string {
		path := filepath.Join(t.TempDir(), "x.tar.gz")
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	cut, text := file(whole[:len(whole)/2]), file([]byte("this is no archive"))
	good := aShop(t)
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"no file":    {[]string{"--file", "/no/such"}, "open the archive: stat /no/such: no such file or directory"},
		"a folder":   {[]string{"--file", "/"}, `open the archive: "/" is no file`},
		"no gzip":    {[]string{"--file", text}, `read file "` + text + `": unpack: gzip: invalid header; hint: an archive is a .tar.gz, as ` + "`backup download` writes it"},
		"cut":        {[]string{"--file", cut}, "unexpected EOF"},
		"blank":      {[]string{"--file", ""}, `invalid argument "" for "--file" flag: the name is empty; hint: give a name, or leave the flag out`},
		"and a name": {[]string{"shop", "--file", good}, "--file is instead of names and --selector; hint: leave out one of the two"},
		"and labels": {[]string{"-l", "a=b", "--file", good}, "--file is instead of names and --selector; hint: leave out one of the two"},
		"format":     {[]string{"-o", "yaml", "--file", good}, `output format "yaml" is not known; hint: there are plaintext and json`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out, _, err := runCommand(t, append([]string{"backup", "describe"}, c.args...)...)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error\n got %v\nwant %s", err, c.want)
			}
			if out != "" {
				t.Errorf("printed %q", out)
			}
		})
	}
}

// bucket is objects by key.
type bucket map[string][]byte

func (b bucket) Get(_ context.Context, key string) (io.ReadCloser, error) {
	body, ok := b[key]
	if !ok {
		return nil, fmt.Errorf("get %q: %w", key, reader.ErrNotExist)
	}
	return io.NopCloser(bytes.NewReader(body)), nil
}

func gzipped(t *testing.T, text string) []byte {
	t.Helper()
	var body bytes.Buffer
	zip := gzip.NewWriter(&body)
	if _, err := zip.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := zip.Close(); err != nil {
		t.Fatal(err)
	}
	return body.Bytes()
}

// TestDescribeReads looks at what a description takes out of the bucket, and at
// what it says of objects that can't be read.
func TestDescribeReads(t *testing.T) {
	t.Parallel()
	list := map[string][]string{"v1/Pod": {"shop/a"}}
	for name, c := range map[string]struct {
		status   velerov1.BackupStatus
		details  bool
		bucket   bucket
		want     describe.Backup
		errorsOf []string // coverage, resource list, results
	}{
		"without details and problems": {status: velerov1.BackupStatus{Phase: velerov1.BackupPhaseCompleted}},
		"still running":                {status: velerov1.BackupStatus{Phase: velerov1.BackupPhaseInProgress, Errors: 1}, details: true},
		"failed":                       {status: velerov1.BackupStatus{Phase: velerov1.BackupPhaseFailed, Errors: 1}, details: true},
		"all": {
			status: velerov1.BackupStatus{Phase: velerov1.BackupPhasePartiallyFailed, Errors: 1}, details: true,
			bucket: bucket{
				"backups/shop/shop-results.gz":            gzipped(t, `{"errors":{"velero":["why"]}}`),
				"backups/shop/shop-resource-list.json.gz": gzipped(t, `{"v1/Pod":["shop/a"]}`),
				"backups/shop/shop-coverage.json.gz":      gzipped(t, `{"kinds":[{"resource":"pods","state":"listed","listed":1,"stored":1}]}`),
				"backups/shop/shop-volumeinfo.json.gz":    gzipped(t, `[{"pvName":"disk","backupMethod":"NativeSnapshot","result":"succeeded"}]`),
			},
			want: describe.Backup{
				Results:      describe.Fetched[report.Results]{Value: &report.Results{Errors: report.Result{Velero: []string{"why"}}}},
				ResourceList: describe.Fetched[map[string][]string]{Value: &list},
				Coverage: describe.Fetched[report.Coverage]{Value: &report.Coverage{Kinds: []report.KindCoverage{
					{Resource: "pods", State: report.KindListed, Listed: 1, Stored: 1},
				}}},
				Volumes: describe.Fetched[[]volume.Info]{Value: &[]volume.Info{{PVName: "disk", Method: volume.NativeSnapshot, Result: volume.Succeeded}}},
			},
		},
		"by Velero": {
			status: velerov1.BackupStatus{Phase: velerov1.BackupPhaseCompleted}, details: true,
			bucket: bucket{"backups/shop/shop-resource-list.json.gz": gzipped(t, `{"v1/Pod":["shop/a"]}`)},
			want: describe.Backup{
				ResourceList: describe.Fetched[map[string][]string]{Value: &list},
				Coverage:     describe.Fetched[report.Coverage]{Missing: true},
				Volumes:      describe.Fetched[[]volume.Info]{Missing: true},
			},
		},
		"broken": {
			status: velerov1.BackupStatus{Phase: velerov1.BackupPhaseCompleted}, details: true,
			bucket: bucket{
				"backups/shop/shop-resource-list.json.gz": gzipped(t, `{"v1/Pod":`),
				"backups/shop/shop-coverage.json.gz":      []byte("this is no gzip stream"),
			},
			errorsOf: []string{
				`unpack "backups/shop/shop-coverage.json.gz": gzip: invalid header`,
				`decode "backups/shop/shop-resource-list.json.gz": unexpected EOF`, "",
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := describe.Backup{Backup: &velerov1.Backup{ObjectMeta: metav1.ObjectMeta{Name: "shop"}, Status: c.status}}
			readAll(t.Context(), c.bucket, wantedOfBackup(&d, c.details))
			if c.errorsOf != nil {
				got := []string{fmt.Sprint(d.Coverage.Err), fmt.Sprint(d.ResourceList.Err), strings.TrimPrefix(fmt.Sprint(d.Results.Err), "<nil>")}
				if diff := cmp.Diff(c.errorsOf, got); diff != "" {
					t.Error(diff)
				}
				return
			}
			c.want.Backup = d.Backup
			if diff := cmp.Diff(c.want, d); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestDescribeReadsRestore looks at what the description of a restore takes out of
// the bucket.
func TestDescribeReadsRestore(t *testing.T) {
	t.Parallel()
	results := report.Results{Errors: report.Result{Velero: []string{"why"}}}
	list := map[string][]string{"v1/Pod": {"shop/a(created)"}}
	all := bucket{
		"restores/r/restore-r-results.gz":            gzipped(t, `{"errors":{"velero":["why"]}}`),
		"restores/r/restore-r-resource-list.json.gz": gzipped(t, `{"v1/Pod":["shop/a(created)"]}`),
		"restores/r/r-volumeinfo.json.gz":            gzipped(t, `[{"pvcName":"db","pvcNamespace":"shop","restoreMethod":"CSISnapshot","snapshotDataMoved":false}]`),
	}
	volumes := []describe.RestoredVolume{{ClaimNamespace: "shop", ClaimName: "db", Method: "CSISnapshot"}}
	for name, c := range map[string]struct {
		status  velerov1.RestoreStatus
		details bool
		bucket  bucket
		want    describe.Restore
	}{
		"without details and problems": {status: velerov1.RestoreStatus{Phase: velerov1.RestorePhaseCompleted}, bucket: all},
		"refused":                      {status: velerov1.RestoreStatus{Phase: velerov1.RestorePhaseFailedValidation, Errors: 1}, details: true, bucket: all},
		"with problems": {
			status: velerov1.RestoreStatus{Phase: velerov1.RestorePhasePartiallyFailed, Errors: 1}, bucket: all,
			want: describe.Restore{Results: describe.Fetched[report.Results]{Value: &results}},
		},
		"with details": {
			status: velerov1.RestoreStatus{Phase: velerov1.RestorePhaseFailed, Warnings: 1}, details: true, bucket: all,
			want: describe.Restore{
				Results:      describe.Fetched[report.Results]{Value: &results},
				ResourceList: describe.Fetched[map[string][]string]{Value: &list},
				Volumes:      describe.Fetched[[]describe.RestoredVolume]{Value: &volumes},
			},
		},
		"ended before it wrote": {
			status: velerov1.RestoreStatus{Phase: velerov1.RestorePhaseFailed}, details: true,
			want: describe.Restore{
				ResourceList: describe.Fetched[map[string][]string]{Missing: true},
				Volumes:      describe.Fetched[[]describe.RestoredVolume]{Missing: true},
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := describe.Restore{Restore: &velerov1.Restore{ObjectMeta: metav1.ObjectMeta{Name: "r"}, Status: c.status}}
			readAll(t.Context(), c.bucket, wantedOfRestore(&d, c.details))
			c.want.Restore = d.Restore
			if diff := cmp.Diff(c.want, d); diff != "" {
				t.Error(diff)
			}
		})
	}
}
