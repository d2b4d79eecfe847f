package store

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestGCSCredentialsFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, body string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(body), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := writeFederation(t, "https://sts.googleapis.com/v1/token")
	for _, test := range []struct {
		name, file, configured string
		wantError              string
	}{
		{name: "mounted", file: good},
		{name: "of the config", file: filepath.Join(dir, "missing"), configured: good},
		{name: "mounted one first", file: good, configured: filepath.Join(dir, "missing")},
		{name: "missing file of the config", configured: "/nowhere/c", wantError: `config key "credentialsFile": open /nowhere/c`},
		{name: "a folder", file: dir, wantError: "read credentials file: "},
		{name: "AWS keys", file: write("aws", "[default]\naws_secret_access_key=geheim\n"), wantError: `is not JSON; hint: it is the key file of a service account`},
		{name: "empty", file: write("empty", ""), wantError: "is not JSON"},
		{name: "no type", file: write("none", `{"private_key":"geheim"}`), wantError: `is of no known type; hint: its "type" must be one of ["service_account" "external_account"`},
		{name: "other type", file: write("other", `{"type":"geheim"}`), wantError: "is of no known type"},
		{name: "incomplete federation", file: write("half", `{"type":"external_account","audience":"a"}`), wantError: `is not valid for type "external_account"`},
		{name: "of another kind", file: write("list", `["geheim"]`), wantError: "is not JSON"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			_, err := Open(t.Context(), Location{Provider: "gcp", Bucket: "b", CredentialsFile: test.file, Config: map[string]string{"credentialsFile": test.configured}})
			if test.wantError == "" {
				check(t, err)
				return
			}
			if err == nil || !strings.Contains(err.Error(), test.wantError) || strings.Contains(err.Error(), "geheim") {
				t.Errorf("error %v", err)
			}
		})
	}
}

// TestGCSKeyIsNoKey has a key file whose key is damaged, which shows when it is
// used.
func TestGCSKeyIsNoKey(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "key.json")
	body := `{"type":"service_account","client_email":"x@p.iam.gserviceaccount.com","token_uri":"http://127.0.0.1:1/token","private_key":"-----BEGIN PRIVATE KEY-----\ngeheim\n-----END PRIVATE KEY-----\n"}`
	if err := os.WriteFile(file, []byte(body), 0o600); err != nil {
		t.Fatal(err)
	}
	b, err := Open(t.Context(), Location{Provider: "gcp", Bucket: "b", CredentialsFile: file})
	if err == nil {
		_, err = b.Stat(t.Context(), "k")
		checkError(t, err, ErrDenied, "credentials secret")
	}
	if strings.Contains(err.Error(), "geheim") {
		t.Error(err)
	}
}

func TestGCSTokenRefused(t *testing.T) {
	t.Parallel()
	oauth := func(description string) string {
		return fmt.Sprintf(`{"error":"invalid_grant","error_description":%q}`, description)
	}
	for _, test := range []struct {
		name   string
		status int
		body   string
		want   error
		hint   string
	}{
		{"clock", 400, oauth("Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe."), ErrDenied, "differ too much: here it is "},
		{"key deleted", 400, oauth("Invalid JWT Signature."), ErrDenied, "create a new one"},
		{"account deleted", 400, oauth("Invalid grant: account not found"), ErrDenied, "does not exist any more"},
		{"pool", 403, oauth("The given credential is rejected by the attribute condition."), ErrDenied, "trust this cluster"},
		{"echo", 400, oauth("got " + testSubjectToken), ErrDenied, ""},
		{"busy", 503, "busy", ErrUnavailable, ""},
		{"too many", 429, "busy", ErrUnavailable, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/token" {
					t.Errorf("%s %s", r.Method, r.URL)
				}
				w.Header().Set("Date", time.Now().Add(2*time.Hour).UTC().Format(http.TimeFormat))
				w.WriteHeader(test.status)
				fmt.Fprint(w, test.body)
			}))
			t.Cleanup(server.Close)
			b := gcsAt(t, server.URL, nil)
			start := time.Now()
			_, err := b.Stat(t.Context(), "k")
			checkError(t, err, test.want, test.hint)
			checkError(t, b.Put(t.Context(), "k", strings.NewReader("x")), test.want, test.hint)
			if Temporary(err) != (test.want == ErrUnavailable) || strings.Contains(err.Error(), "eyJ") {
				t.Error(err)
			}
			if took := time.Since(start); took > 30*time.Second {
				t.Errorf("took %s", took)
			}
		})
	}
}

func TestGCSTokenServerDown(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()
	_, err := gcsAt(t, server.URL, nil).Stat(t.Context(), "k")
	checkError(t, err, ErrUnavailable, "token server")
	if !strings.Contains(err.Error(), "get a token: dial tcp") {
		t.Error(err)
	}
}

// TestGCSUniverse takes the key file of another cloud.
func TestGCSUniverse(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "cloud")
	body := `{"type":"external_account","audience":"a","subject_token_type":"t","token_url":"http://127.0.0.1:1/token","credential_source":{"file":"/nowhere"},"universe_domain":"apis.example"}`
	if err := os.WriteFile(file, []byte(body), 0o600); err != nil {
		t.Fatal(err)
	}
	b, err := Open(t.Context(), Location{Provider: "gcp", Bucket: "b", CredentialsFile: file})
	if err != nil {
		t.Fatal(err)
	}
	_, err = b.Stat(t.Context(), "k")
	checkError(t, err, ErrDenied, `set the config key "universeDomain" of the location to "apis.example"`)

	b, err = Open(t.Context(), Location{Provider: "gcp", Bucket: "b", CredentialsFile: file, Config: map[string]string{"universeDomain": "apis.example"}})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := b.(*gcsBucket).endpoint(), "https://storage.apis.example/storage/v1/"; got != want {
		t.Errorf("endpoint %s, want %s", got, want)
	}
}
