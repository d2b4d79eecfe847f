//go:build integration

package store_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/kubectl-velero/kubectl-velero/pkg/store"
	"github.com/kubectl-velero/kubectl-velero/testdata/testenv"
)

// bucketPolicy is one of AWS, as far as the documented ones go.
type bucketPolicy struct {
	Version   string
	Statement []statement
}

type statement struct {
	Effect    string
	Principal map[string]string `json:",omitempty"`
	Action    []string
	Resource  string
}

// documentedPolicy is the one that the documentation tells users to set.
func documentedPolicy(t *testing.T) bucketPolicy {
	t.Helper()
	page, err := os.ReadFile("../../docs/storage-s3.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(page), "## Least rights")
	_, rest, _ = strings.Cut(rest, "```json\n")
	text, _, _ := strings.Cut(rest, "```")
	var p bucketPolicy
	if err := json.Unmarshal([]byte(text), &p); err != nil {
		t.Fatalf("the policy in the documentation: %v", err)
	}
	return p
}

// forBucket is the policy on a bucket for a user, without one of its actions.
func (p bucketPolicy) forBucket(bucket, user, without string) bucketPolicy {
	q := bucketPolicy{Version: p.Version}
	for _, s := range p.Statement {
		s.Action = slices.DeleteFunc(slices.Clone(s.Action), func(a string) bool { return a == without })
		s.Resource = strings.ReplaceAll(s.Resource, "BUCKET", bucket)
		s.Principal = map[string]string{"AWS": user}
		if len(s.Action) > 0 {
			q.Statement = append(q.Statement, s)
		}
	}
	return q
}

// createUser makes a user without any rights, and gives the file of its keys.
func createUser(t *testing.T, server *testenv.S3Server, name string) (credentialsFile string) {
	t.Helper()
	const secret = "geheim-of-user"
	body, err := xml.Marshal(struct {
		XMLName              xml.Name `xml:"Account"`
		Access, Secret, Role string
	}{Access: name, Secret: secret, Role: "user"})
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPatch, server.URL+"/create-user", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(body)
	hash := hex.EncodeToString(sum[:])
	r.Header.Set("X-Amz-Content-Sha256", hash)
	keys := aws.Credentials{AccessKeyID: server.AccessKey, SecretAccessKey: server.SecretKey}
	if err := v4.NewSigner().SignHTTP(t.Context(), keys, r, hash, "s3", "us-east-1", time.Now()); err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode >= http.StatusBadRequest {
		t.Fatalf("create user: %s", answer.Status)
	}
	file := filepath.Join(t.TempDir(), "user")
	if err := testenv.WriteCredentials(file, name, secret); err != nil {
		t.Fatal(err)
	}
	return file
}

// TestLeastRightsS3 makes every call with exactly the documented rights, and again
// without each of them.
func TestLeastRightsS3(t *testing.T) {
	t.Parallel()
	server := startS3(t, testenv.StartOptions{Users: true, Versions: true})
	credentials := createUser(t, server, "backups")
	documented := documentedPolicy(t)
	missing := map[string][]string{
		"s3:GetObject":                  {"get", "range", "stat", "create"},
		"s3:PutObject":                  {"put", "put large", "create", "create unseen"},
		"s3:DeleteObject":               {"delete"},
		"s3:AbortMultipartUpload":       {"abort"},
		"s3:ListBucket":                 {"list", "prefixes"},
		"s3:ListBucketMultipartUploads": {"abort"},
		// These only tell more.
		"s3:GetBucketVersioning":              nil,
		"s3:GetBucketObjectLockConfiguration": nil,
		"s3:GetObjectRetention":               nil,
		"s3:GetObjectLegalHold":               nil,
	}
	var actions []string
	for _, s := range documented.Statement {
		actions = append(actions, s.Action...)
	}
	if len(actions) != len(missing) {
		t.Errorf("documented actions are %q", actions)
	}
	for i, action := range append([]string{""}, actions...) {
		t.Run("without "+action, func(t *testing.T) {
			bucket := fmt.Sprintf("rights-%d", i)
			if err := server.CreateBucket(t.Context(), bucket); err != nil {
				t.Fatal(err)
			}
			b := openWithPolicy(t, server, bucket, credentials, documented.forBucket(bucket, "backups", action))
			checkRights(t, server, b, bucket, missing[action])
		})
	}
}

func openWithPolicy(t *testing.T, server *testenv.S3Server, bucket, credentials string, p bucketPolicy) store.Bucket {
	t.Helper()
	client, err := server.Client()
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.PutBucketPolicy(t.Context(), &s3.PutBucketPolicyInput{Bucket: &bucket, Policy: aws.String(string(text))}); err != nil {
		t.Fatal(err)
	}
	l := server.Location(bucket, "pre")
	l.CredentialsFile = credentials
	l.Config["partSizeMiB"] = fmt.Sprint(partSize >> 20)
	return open(t, l)
}

// checkRights makes every call on objects that are there, and wants those to be
// denied that are named.
func checkRights(t *testing.T, server *testenv.S3Server, b store.Bucket, bucket string, denied []string) {
	t.Helper()
	client, err := server.Client()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.PutObject(t.Context(), &s3.PutObjectInput{Bucket: &bucket, Key: aws.String("pre/there"), Body: strings.NewReader("there")}); err != nil {
		t.Fatal(err)
	}
	if err := server.BeginUpload(t.Context(), bucket, "pre/dead", "part"); err != nil {
		t.Fatal(err)
	}
	for call, err := range callsOn(t.Context(), b) {
		if !slices.Contains(denied, call) {
			if err != nil {
				t.Errorf("%s: %v", call, err)
			}
			continue
		}
		if !errors.Is(err, store.ErrDenied) || !strings.Contains(err.Error(), "hint: grant the account s3:GetObject") {
			t.Errorf("%s: %v", call, err)
		}
	}
}

// callsOn makes every call of a bucket that holds the object "there" and an
// unfinished upload, and gives the errors.
func callsOn(ctx context.Context, b store.Bucket) map[string]error {
	errs := map[string]error{}
	_, errs["get"] = b.Get(ctx, "there")
	_, errs["range"] = b.GetRange(ctx, "there", 1, 2)
	_, errs["stat"] = b.Stat(ctx, "there")
	_, errs["prefixes"] = b.Prefixes(ctx, "")
	for _, err := range b.List(ctx, "") {
		errs["list"] = errors.Join(errs["list"], err)
	}
	_, errs["abort"] = b.(store.UploadAborter).AbortUploads(ctx, "")
	_, errs["inspect"] = b.(store.Inspector).Inspect(ctx)
	errs["put"] = b.Put(ctx, "put", strings.NewReader("x"))
	errs["put large"] = b.Put(ctx, "large", bytes.NewReader(make([]byte, 2*partSize)))
	errs["create"] = b.Create(ctx, "created", []byte("x"))
	errs["create unseen"] = b.(store.Inspector).CreateUnseen(ctx, "unseen", []byte("x"))
	errs["delete"] = b.Delete(ctx, "there")
	return errs
}
