package store

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kubectl-velero/kubectl-velero/pkg/store/settings"
)

const testAzureKey = "Z2VoZWltL3NjaGx1ZXNzZWw=" // a secret's

// openAzureAt opens container b at a server of the test.
func openAzureAt(t *testing.T, url string) *azureBucket {
	t.Helper()
	file := filepath.Join(t.TempDir(), "cloud")
	if err := os.WriteFile(file, []byte("KEY="+testAzureKey), 0o600); err != nil {
		t.Fatal(err)
	}
	b, err := Open(t.Context(), Location{Provider: "azure", Bucket: "b", Prefix: "p", CredentialsFile: file, Config: map[string]string{
		"storageAccount": "velero", "storageAccountURI": url, "storageAccountKeyEnvVar": "KEY",
	}})
	if err != nil {
		t.Fatal(err)
	}
	return b.(*azureBucket)
}

func serveAzure(t *testing.T, handler http.HandlerFunc) *azureBucket {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return openAzureAt(t, server.URL)
}

func refuseAsAzure(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/xml")
	w.Header().Set("x-ms-request-id", "R1")
	w.Header().Set("x-ms-error-code", code)
	w.WriteHeader(status)
	fmt.Fprintf(w, "<?xml version=\"1.0\" encoding=\"utf-8\"?><Error><Code>%s</Code><Message>%s\nRequestId:R1\nTime:2026-01-01T00:00:00Z</Message><AuthenticationErrorDetail>The MAC signature found in the HTTP request 'geheim' is not the same as any computed signature.</AuthenticationErrorDetail></Error>", code, message)
}

func TestErrorsOfAzure(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		status int
		code   string
		want   error
		hint   string
	}{
		{404, "ContainerNotFound", ErrNoBucket, `create the container "b"`},
		{409, "ContainerBeingDeleted", ErrNoBucket, "create the container"},
		{404, "BlobNotFound", ErrNotExist, ""},
		{403, "AuthenticationFailed", ErrDenied, "key doesn't belong to the storage account"},
		{403, "AuthorizationFailure", ErrDenied, "firewall"},
		{403, "AuthorizationPermissionMismatch", ErrDenied, `"Storage Blob Data Contributor"`},
		{403, "KeyBasedAuthenticationNotPermitted", ErrDenied, `"useAAD"`},
		{403, "SomethingNew", ErrDenied, "Contributor"},
		{400, "AccountRequiresHttps", ErrDenied, "start with https://"},
		{409, "BlobArchived", nil, "set-tier"},
		{503, "ServerBusy", ErrUnavailable, ""},
		{500, "InternalError", ErrUnavailable, ""},
		{409, "AccountBeingCreated", nil, ""},
	} {
		t.Run(test.code, func(t *testing.T) {
			t.Parallel()
			b := serveAzure(t, func(w http.ResponseWriter, _ *http.Request) {
				refuseAsAzure(w, test.status, test.code, "you sent "+testAzureKey+" and sig=0123abc&amp;x")
			})
			_, err := b.Get(t.Context(), "k")
			checkError(t, err, test.want, test.hint)
			if !strings.HasPrefix(err.Error(), `read object "p/k" in container "b" at http://127.0.0.1:`) {
				t.Errorf("error doesn't start with what was tried: %v", err)
			}
			if !strings.Contains(err.Error(), test.code+": you sent REDACTED") || !strings.Contains(err.Error(), "(request R1)") || strings.Contains(err.Error(), "Time:") {
				t.Errorf("detail: %v", err)
			}
			if strings.Contains(err.Error(), testAzureKey) || strings.Contains(err.Error(), "0123abc") {
				t.Errorf("secret in: %v", err)
			}
		})
	}
}

// azureLocks answers like a container whose blobs are locked in one of several ways.
type azureLocks struct {
	head      map[string]string // headers of a blob
	container map[string]string // headers of the container
	refusal   string            // code of DELETE and PUT; empty: they succeed
	changed   []string          // methods that were let through
}

func (l *azureLocks) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	headers := l.head
	switch {
	case r.URL.Query().Get("restype") == "container":
		headers = l.container
	case r.Method == http.MethodDelete, r.Method == http.MethodPut:
		if l.refusal != "" {
			refuseAsAzure(w, 409, l.refusal, "locked")
			return
		}
		l.changed = append(l.changed, r.Method)
		w.WriteHeader(map[string]int{http.MethodDelete: 202, http.MethodPut: 201}[r.Method])
		return
	}
	for name, value := range headers {
		w.Header().Set(name, value)
	}
}

func TestLockedInAzure(t *testing.T) {
	t.Parallel()
	until := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
	past := time.Now().Add(-time.Hour).UTC()
	const untilHeader, holdHeader = "x-ms-immutability-policy-until-date", "x-ms-legal-hold"
	for name, test := range map[string]struct {
		locks azureLocks
		want  *LockedError
	}{
		"version retained":    {azureLocks{head: map[string]string{untilHeader: until.Format(http.TimeFormat)}}, &LockedError{Key: "k", Until: until}},
		"version held":        {azureLocks{head: map[string]string{holdHeader: "true", untilHeader: until.Format(http.TimeFormat)}}, &LockedError{Key: "k", Hold: true}},
		"retention is over":   {azureLocks{head: map[string]string{untilHeader: past.Format(http.TimeFormat)}}, nil},
		"container's policy":  {azureLocks{refusal: "BlobImmutableDueToPolicy", container: map[string]string{"x-ms-has-immutability-policy": "true"}}, &LockedError{Key: "k"}},
		"container's hold":    {azureLocks{refusal: "BlobImmutableDueToPolicy", container: map[string]string{"x-ms-has-legal-hold": "true"}}, &LockedError{Key: "k", Hold: true}},
		"leased":              {azureLocks{refusal: "LeaseIdMissing"}, &LockedError{Key: "k", Hold: true}},
		"free":                {azureLocks{}, nil},
		"told with a refusal": {azureLocks{refusal: "BlobImmutableDueToPolicy", head: map[string]string{untilHeader: until.Format(http.TimeFormat)}}, &LockedError{Key: "k", Until: until}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := serveAzure(t, test.locks.ServeHTTP)
			err := b.Delete(t.Context(), "k")
			var locked *LockedError
			errors.As(err, &locked)
			if diff := cmp.Diff(test.want, locked); diff != "" || test.want == nil && err != nil {
				t.Errorf("%v: %s", err, diff)
			}
			if test.want != nil && (!errors.Is(err, ErrLocked) || len(test.locks.changed) > 0) {
				t.Errorf("%v, let through: %q", err, test.locks.changed)
			}
			if test.locks.refusal == "" {
				return
			}
			err = b.Put(t.Context(), "k", strings.NewReader("x"))
			if !errors.As(err, &locked) || cmp.Diff(test.want, locked) != "" {
				t.Errorf("put: %v", err)
			}
			if err := b.Create(t.Context(), "k", nil); !errors.Is(err, ErrExists) {
				t.Errorf("create: %v", err)
			}
		})
	}
}

func TestInspectAzure(t *testing.T) {
	t.Parallel()
	until := time.Date(2099, 1, 2, 3, 4, 0, 0, time.UTC)
	const list = `<?xml version="1.0" encoding="utf-8"?><EnumerationResults><Blobs>%s</Blobs><NextMarker/></EnumerationResults>`
	const item = `<Blob><Name>p/k</Name><Properties><Content-Length>1</Content-Length></Properties></Blob>`
	const soft = `<?xml version="1.0" encoding="utf-8"?><StorageServiceProperties><DeleteRetentionPolicy><Enabled>%v</Enabled></DeleteRetentionPolicy></StorageServiceProperties>`
	for name, test := range map[string]struct {
		items      string
		container  map[string]string
		blob       map[string]string
		service    string // empty: denied
		versioning Tristate
		lock       Tristate
		rule       string
	}{
		"nothing":            {"", nil, nil, fmt.Sprintf(soft, false), Unknown, No, ""},
		"nothing and denied": {"", nil, nil, "", Unknown, No, ""},
		"plain":              {item, nil, nil, fmt.Sprintf(soft, false), No, No, ""},
		"may be kept":        {item, nil, nil, "", Unknown, No, ""},
		"deleted are kept":   {item, nil, nil, fmt.Sprintf(soft, true), Yes, No, ""},
		"versions":           {item, nil, map[string]string{"x-ms-version-id": "1"}, "", Yes, No, ""},
		"policy":             {item, map[string]string{"x-ms-has-immutability-policy": "true"}, nil, "", Unknown, Yes, "time-based retention policy of the container"},
		"hold":               {item, map[string]string{"x-ms-has-legal-hold": "true"}, nil, "", Unknown, Yes, "legal hold on the container"},
		"version policy": {item, map[string]string{"x-ms-immutable-storage-with-versioning-enabled": "true"},
			map[string]string{"x-ms-immutability-policy-until-date": until.Format(http.TimeFormat)}, "", Yes, Yes, `retention policy for each version, "p/k" until 2099-01-02 03:04 UTC`},
		"no version yet": {"", map[string]string{"x-ms-immutable-storage-with-versioning-enabled": "true"}, nil, "", Yes, Unknown, "the container allows a retention policy for each version"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := serveAzure(t, func(w http.ResponseWriter, r *http.Request) {
				query := r.URL.Query()
				headers := test.blob
				switch {
				case query.Get("comp") == "list":
					fmt.Fprintf(w, list, test.items)
					return
				case query.Get("restype") == "service" && test.service == "":
					refuseAsAzure(w, 403, "AuthorizationPermissionMismatch", "no")
					return
				case query.Get("restype") == "service":
					fmt.Fprint(w, test.service)
					return
				case query.Get("restype") == "container":
					headers = test.container
				}
				for name, value := range headers {
					w.Header().Set(name, value)
				}
			})
			got, err := b.Inspect(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if got.ServerTime.Sub(got.LocalTime).Abs() > 5*time.Second || !strings.HasSuffix(got.Endpoint, "/b") {
				t.Errorf("%+v", got)
			}
			got.Endpoint, got.ServerTime, got.LocalTime = "", time.Time{}, time.Time{}
			if diff := cmp.Diff(Inspection{Versioning: test.versioning, Lock: test.lock, LockRule: test.rule}, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestAzureDirectories has an account with a hierarchical namespace.
func TestAzureDirectories(t *testing.T) {
	t.Parallel()
	b := serveAzure(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodHead {
			w.Header().Set("x-ms-meta-Hdi_isfolder", "true")
			return
		}
		fmt.Fprint(w, `<?xml version="1.0" encoding="utf-8"?><EnumerationResults><Blobs>
			<Blob><Name>p/backups</Name><Properties><ResourceType>directory</ResourceType><Content-Length>0</Content-Length></Properties></Blob>
			<Blob><Name>p/backups/k</Name><Properties><ResourceType>file</ResourceType><Content-Length>7</Content-Length><Etag>1</Etag></Properties></Blob>
			</Blobs><NextMarker/></EnumerationResults>`)
	})
	var got []ObjectInfo
	for o, err := range b.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, o)
	}
	if diff := cmp.Diff([]ObjectInfo{{Key: "backups/k", Size: 7, ETag: "1"}}, got); diff != "" {
		t.Error(diff)
	}
	if _, err := b.Stat(t.Context(), "backups"); !errors.Is(err, ErrNotExist) {
		t.Error(err)
	}
}

func TestAzureDown(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	for name, url := range map[string]string{"refused": "http://" + address, "no such host": "http://store.invalid"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := openAzureAt(t, url)
			start := time.Now()
			_, err := b.Stat(t.Context(), "k")
			checkError(t, err, ErrUnavailable, "check that the store runs")
			checkError(t, b.Put(t.Context(), "k", strings.NewReader("x")), ErrUnavailable, "check that the store runs")
			if took := time.Since(start); took > 30*time.Second {
				t.Errorf("took %s", took)
			}
		})
	}
}

func TestAzureRefusesKeys(t *testing.T) {
	t.Parallel()
	b := openAzureAt(t, "http://store.invalid")
	if err := b.Create(t.Context(), `a\b`, nil); err == nil || !strings.Contains(err.Error(), "Azure takes a backslash for a slash") {
		t.Error(err)
	}
}

// TestAzureOpenRefuses has what is wrong before any request.
func TestAzureOpenRefuses(t *testing.T) {
	for _, name := range []string{azureCredentialsFile, azureCloudName, azureSecret, azureTokenFile} {
		t.Setenv(name, "")
	}
	write := func(body string) string {
		file := filepath.Join(t.TempDir(), "cloud")
		if err := os.WriteFile(file, []byte(body), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	for name, test := range map[string]struct {
		file   string
		config map[string]string
		want   string
	}{
		"no key":            {write("OTHER=geheim"), map[string]string{"storageAccountKeyEnvVar": "KEY"}, `has no variable "KEY"; hint: add the line KEY=KEY`},
		"no base64":         {write("KEY=geheim!"), map[string]string{"storageAccountKeyEnvVar": "KEY"}, `is not the key of a storage account, which is in base64`},
		"no file":           {"", map[string]string{"credentialsFile": "/nowhere"}, `config key "credentialsFile": open /nowhere: no such file`},
		"no assignment":     {write("A=1\n\ngeheim\n"), nil, `line 3 is not of the form NAME=VALUE`},
		"cloud":             {write("AZURE_CLOUD_NAME=Nimbus"), nil, `AZURE_CLOUD_NAME "Nimbus" in the credentials file`},
		"certificate":       {write("AZURE_CLIENT_CERTIFICATE=geheim\nAZURE_TENANT_ID=t\nAZURE_CLIENT_ID=c"), nil, `sign in to Azure with a client certificate: the certificate can't be read`},
		"secret, no tenant": {write("AZURE_CLIENT_SECRET=geheim"), nil, `sign in to Azure with a client secret: `},
	} {
		t.Run(name, func(t *testing.T) {
			config := map[string]string{"storageAccount": "velero"}
			for k, v := range test.config {
				config[k] = v
			}
			_, err := Open(t.Context(), Location{Provider: "azure", Bucket: "b", CredentialsFile: test.file, Config: config})
			if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "geheim") {
				t.Error(err)
			}
		})
	}
}

func TestChooseCloud(t *testing.T) {
	for name, test := range map[string]struct {
		values      map[string]string
		authority   string
		environment string
		want        azureCloud
	}{
		"default":             {nil, "", "", azurePublic},
		"public":              {map[string]string{azureCloudName: "AzureCloud"}, "", "", azurePublic},
		"china":               {map[string]string{azureCloudName: "azurechinacloud"}, "", "", azureChina},
		"government":          {map[string]string{azureCloudName: "AzureUSGovernment"}, "", "", azureGovernment},
		"government's config": {map[string]string{azureCloudName: "AzureUSGovernmentCloud"}, "", "", azureGovernment},
		"of the pod":          {nil, "", "https://login.chinacloudapi.cn/", azureChina},
		"authority in config": {nil, "https://login.microsoftonline.us", "https://login.chinacloudapi.cn/", azureGovernment},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(azureCloudName, "")
			t.Setenv(azureAuthority, test.environment)
			got, err := chooseCloud(settings.Azure{Authority: test.authority}, azureVariables{"file", test.values})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want.ActiveDirectoryAuthorityHost+test.want.suffix, got.ActiveDirectoryAuthorityHost+got.suffix); diff != "" || !got.known {
				t.Errorf("%+v %s", got, diff)
			}
		})
	}
	got, err := chooseCloud(settings.Azure{Authority: "https://login.example"}, azureVariables{})
	if err != nil || got.known || got.ActiveDirectoryAuthorityHost != "https://login.example" || got.suffix != azurePublic.suffix {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestParseVariables(t *testing.T) {
	t.Parallel()
	got, err := parseVariables("# comment\r\nA=1\n\n  export B = two words # comment\nC='it''\nD=\"a\\nb \\\"q\\\" \\$x # no comment\"\nE: yaml\nF=\nG=a#b==\nH=\"-----BEGIN\nMII/+=\n-----END\"\nI='$raw\\n' # comment\nJ=#none\nA=2")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"A": "2", "B": "two words", "C": "it", "D": "a\nb \"q\" $x # no comment", "E": "yaml", "F": "", "G": "a#b==",
		"H": "-----BEGIN\nMII/+=\n-----END", "I": `$raw\n`, "J": "",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for _, text := range []string{"geheim", "A='geheim", "1=geheim", "A=\"geheim\\\""} {
		if _, err := parseVariables(text); err == nil || strings.Contains(err.Error(), "geheim") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// TestAzureMetadataService gets a token at the address that every node of Azure has;
// a proxy in the environment is not asked for it.
func TestAzureMetadataService(t *testing.T) {
	for _, name := range []string{azureCredentialsFile, azureSecret, azureTokenFile, azureClient, "IDENTITY_ENDPOINT", "MSI_ENDPOINT", "IMDS_ENDPOINT"} {
		t.Setenv(name, "")
	}
	// The SDK keeps tokens for the whole process: another client id, another token.
	t.Setenv(azureClient, "client-of-this-test")
	asked := make(chan *http.Request, 8)
	node := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- r
		fmt.Fprintf(w, `{"access_token":"token-of-the-node","expires_in":"3600","expires_on":"%d","resource":"https://storage.azure.com","token_type":"Bearer"}`, time.Now().Add(time.Hour).Unix())
	}))
	t.Cleanup(node.Close)
	account := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer token-of-the-node" {
			w.WriteHeader(http.StatusForbidden)
		}
	}))
	t.Cleanup(account.Close)
	b, err := openAzure(t.Context(), Location{Bucket: "b", Config: map[string]string{
		"storageAccount": "velero", "storageAccountURI": account.URL, "useAAD": "true", "insecureSkipTLSVerify": "true",
	}})
	if err != nil {
		t.Fatal(err)
	}
	transport := b.account.transport
	proxied := func(r *http.Request) (*url.URL, error) {
		if r.URL.Hostname() == "169.254.169.254" {
			t.Error("the metadata service was asked through the proxy")
		}
		return nil, nil
	}
	transport.Proxy = exceptMetadata(proxied)
	dial := transport.DialContext
	transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		if address == "169.254.169.254:80" {
			address = node.Listener.Addr().String()
		}
		return dial(ctx, network, address)
	}
	if _, err := b.Stat(t.Context(), "k"); err != nil {
		t.Fatal(err)
	}
	r := <-asked
	if r.Header.Get("Metadata") != "true" || r.URL.Query().Get("resource") != "https://storage.azure.com" || r.URL.Query().Get("client_id") != "client-of-this-test" {
		t.Errorf("%s %v", r.URL, r.Header)
	}
}
