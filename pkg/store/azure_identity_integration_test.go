//go:build integration

package store_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kubectl-velero/kubectl-velero/pkg/store"
	"github.com/kubectl-velero/kubectl-velero/pkg/store/storetest"
	"github.com/kubectl-velero/kubectl-velero/testdata/testenv"
)

const (
	azureTenantID = "ab1f708d-50f6-404c-a006-d71b2ac7a606"
	azureClientID = "f997392c-e15a-4ad8-af9e-cd6966caba7f"
	storageScope  = "https://storage.azure.com"
)

// entra is Microsoft Entra, the node's metadata service and Azure's resource manager
// on loopback: it checks who asks and gives tokens that Azurite takes.
type entra struct {
	*httptest.Server
	// accept looks at a request for a token.
	accept func(r *http.Request) bool
	// lifetime is that of tokens.
	lifetime time.Duration
	// keys are the account's, newest last.
	mu     sync.Mutex
	keys   []string
	tokens int
	asked  []string // paths
}

func newEntra(t *testing.T, plain bool) *entra {
	t.Helper()
	e := &entra{lifetime: time.Hour}
	if plain {
		e.Server = httptest.NewServer(e)
	} else {
		e.Server = httptest.NewUnstartedServer(e)
		e.Config.ErrorLog = log.New(io.Discard, "", 0) // handshakes that are refused on purpose
		e.StartTLS()
	}
	t.Cleanup(e.Close)
	return e
}

// ca is the PEM of the server's certificate.
func (e *entra) ca() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: e.Certificate().Raw})
}

func (e *entra) count() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.tokens
}

// ServeHTTP implements http.Handler.
func (e *entra) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.asked = append(e.asked, r.URL.Path)
	w.Header().Set("Content-Type", "application/json")
	switch {
	case strings.HasSuffix(r.URL.Path, "/.well-known/openid-configuration"):
		answerJSON(w, map[string]any{
			"token_endpoint":         e.URL + "/" + azureTenantID + "/oauth2/v2.0/token",
			"authorization_endpoint": e.URL + "/" + azureTenantID + "/oauth2/v2.0/authorize",
			"issuer":                 e.URL + "/" + azureTenantID + "/v2.0",
		})
	case strings.Contains(r.URL.Path, "/common/UserRealm/"):
		answerJSON(w, map[string]any{"account_type": "Managed", "domain_name": "x", "cloud_instance_name": "x", "cloud_audience_urn": "x"})
	case strings.HasSuffix(r.URL.Path, "/listKeys"):
		e.listKeys(w, r)
	case strings.Contains(r.URL.Path, "/providers/Microsoft.Storage/"):
		w.WriteHeader(http.StatusForbidden)
	default:
		e.token(w, r)
	}
}

func (e *entra) token(w http.ResponseWriter, r *http.Request) {
	_ = r.ParseForm()
	if !e.accept(r) {
		w.WriteHeader(http.StatusUnauthorized)
		answerJSON(w, map[string]any{"error": "invalid_client", "error_description": "AADSTS7000215: Invalid client secret provided. Ensure it is the value.\r\nTrace ID: x"})
		return
	}
	e.tokens++
	resource := r.Form.Get("resource") // the metadata service's
	for _, scope := range strings.Fields(r.Form.Get("scope")) {
		if host, ok := strings.CutSuffix(scope, "/.default"); ok {
			resource = host
		}
	}
	seconds := int(e.lifetime / time.Second)
	answerJSON(w, map[string]any{
		"access_token": azureToken(resource, e.lifetime),
		"token_type":   "Bearer",
		"resource":     resource,
		"expires_in":   seconds,
		"expires_on":   fmt.Sprint(time.Now().Add(e.lifetime).Unix()),
	})
}

func (e *entra) listKeys(w http.ResponseWriter, r *http.Request) {
	want := "/subscriptions/sub/resourceGroups/group/providers/Microsoft.Storage/storageAccounts/testbed/listKeys"
	if r.URL.Path != want || !strings.HasPrefix(r.Header.Get("Authorization"), "Bearer ") || len(e.keys) == 0 {
		w.WriteHeader(http.StatusForbidden)
		answerJSON(w, map[string]any{"error": map[string]string{"code": "AuthorizationFailed", "message": "The client does not have authorization to perform action 'Microsoft.Storage/storageAccounts/listKeys/action'."}})
		return
	}
	answerJSON(w, map[string]any{"keys": []map[string]string{
		{"keyName": "key0", "value": "cmVhZC1vbmx5", "permissions": "Read"},
		{"keyName": "key1", "value": e.keys[len(e.keys)-1], "permissions": "FULL"},
	}})
}

func answerJSON(w io.Writer, body any) { _ = json.NewEncoder(w).Encode(body) }

// azureToken is a token as Azurite wants it; it doesn't verify the signature.
func azureToken(audience string, lifetime time.Duration) string {
	encode := func(v any) string {
		body, _ := json.Marshal(v)
		return base64.RawURLEncoding.EncodeToString(body)
	}
	now := time.Now()
	return encode(map[string]string{"alg": "RS256", "typ": "JWT"}) + "." + encode(map[string]any{
		"aud": audience, "iss": "https://sts.windows.net/" + azureTenantID + "/", "tid": azureTenantID, "appid": azureClientID,
		"iat": now.Add(-time.Minute).Unix(), "nbf": now.Add(-time.Minute).Unix(), "exp": now.Add(lifetime).Unix(),
	}) + "." + base64.RawURLEncoding.EncodeToString([]byte("signature"))
}

// location is a location without a key that trusts both servers.
func (e *entra) location(t *testing.T, buckets *azuriteBuckets, credentials string) store.Location {
	t.Helper()
	l := buckets.location(t, "")
	delete(l.Config, "storageAccountKeyEnvVar")
	l.Config["useAAD"] = "true"
	l.Config["activeDirectoryAuthorityURI"] = e.URL
	if e.TLS != nil {
		l.CACert = append(append([]byte{}, l.CACert...), e.ca()...)
	}
	l.CredentialsFile = ""
	if credentials != "" {
		l.CredentialsFile = filepath.Join(t.TempDir(), "cloud")
		if err := os.WriteFile(l.CredentialsFile, []byte(credentials), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return l
}

func identityOfFile(more ...string) string {
	return strings.Join(append([]string{"AZURE_TENANT_ID=" + azureTenantID, "AZURE_CLIENT_ID=" + azureClientID}, more...), "\n")
}

func TestAzureCredentialsOfTheFile(t *testing.T) {
	t.Parallel()
	buckets := &azuriteBuckets{testenv.Azurite(t, true)}
	certificate := clientCertificate(t)
	for name, test := range map[string]struct {
		credentials string
		accept      func(*http.Request) bool
	}{
		"secret": {identityOfFile(`AZURE_CLIENT_SECRET='geheim~1'`), func(r *http.Request) bool {
			return r.Form.Get("client_secret") == "geheim~1" && r.Form.Get("grant_type") == "client_credentials"
		}},
		"certificate": {identityOfFile(`AZURE_CLIENT_CERTIFICATE="` + certificate + `"`), func(r *http.Request) bool {
			return strings.HasSuffix(r.Form.Get("client_assertion_type"), "jwt-bearer") && r.Form.Get("client_assertion") != ""
		}},
		"certificate file": {identityOfFile("AZURE_CLIENT_CERTIFICATE_PATH="+azureFile(t, certificate), "AZURE_CLIENT_SEND_CERTIFICATE_CHAIN=true"), func(r *http.Request) bool {
			header, _, _ := strings.Cut(r.Form.Get("client_assertion"), ".")
			body, err := base64.RawURLEncoding.DecodeString(header)
			return err == nil && strings.Contains(string(body), `"x5c"`)
		}},
		"password": {identityOfFile("AZURE_USERNAME=u@example.org", "AZURE_PASSWORD=geheim"), func(r *http.Request) bool {
			return r.Form.Get("username") == "u@example.org" && r.Form.Get("password") == "geheim"
		}},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEntra(t, false)
			e.accept = func(r *http.Request) bool {
				return test.accept(r) && r.Form.Get("client_id") == azureClientID && strings.Contains(r.Form.Get("scope"), storageScope)
			}
			storetest.Writes(t, open(t, e.location(t, buckets, test.credentials)), azurePartSize)
			if e.count() == 0 {
				t.Error("nobody asked for a token")
			}
		})
	}
}

// TestAzureWorkloadIdentity has the environment that AKS gives a pod, and no file.
func TestAzureWorkloadIdentity(t *testing.T) {
	buckets := &azuriteBuckets{testenv.Azurite(t, true)}
	e := newEntra(t, false)
	e.accept = func(r *http.Request) bool { return r.Form.Get("client_assertion") == "token-of-the-service-account" }
	t.Setenv("AZURE_FEDERATED_TOKEN_FILE", azureFile(t, "token-of-the-service-account"))
	t.Setenv("AZURE_CLIENT_ID", azureClientID)
	t.Setenv("AZURE_TENANT_ID", azureTenantID)
	t.Setenv("AZURE_AUTHORITY_HOST", e.URL+"/")
	l := e.location(t, buckets, "")
	// Neither needs to be set: the environment tells all.
	delete(l.Config, "activeDirectoryAuthorityURI")
	delete(l.Config, "useAAD")
	storetest.Writes(t, open(t, l), azurePartSize)
	if e.count() == 0 {
		t.Error("nobody asked for a token")
	}
}

// TestAzureManagedIdentity has a metadata service of the kind that has its own
// address.
func TestAzureManagedIdentity(t *testing.T) {
	buckets := &azuriteBuckets{testenv.Azurite(t, true)}
	for name, test := range map[string]struct{ credentials, client string }{
		"of the node":      {"", ""},
		"of an assignment": {"AZURE_CLIENT_ID=" + azureClientID, azureClientID},
	} {
		t.Run(name, func(t *testing.T) {
			node := newEntra(t, true)
			node.accept = func(r *http.Request) bool {
				return r.Header.Get("X-IDENTITY-HEADER") == "secret-of-the-node" && r.Form.Get("resource") == storageScope && r.Form.Get("client_id") == test.client
			}
			t.Setenv("IDENTITY_ENDPOINT", node.URL+"/msi/token")
			t.Setenv("IDENTITY_HEADER", "secret-of-the-node")
			l := node.location(t, buckets, test.credentials)
			delete(l.Config, "activeDirectoryAuthorityURI")
			storetest.Writes(t, open(t, l), azurePartSize)
			if node.count() == 0 {
				t.Error("nobody asked for a token")
			}
		})
	}
}

// TestAzureKeyExchange has an identity that may list the account's keys; then the
// key is replaced. It is serial: no test beside it may take the server's port, where
// it starts again.
func TestAzureKeyExchange(t *testing.T) {
	root := t.TempDir()
	server := startAzurite(t, testenv.AzuriteOptions{Root: root, Key: "a2V5LTE="})
	buckets := &azuriteBuckets{server}
	e := newEntra(t, false)
	e.accept = func(r *http.Request) bool { return r.Form.Get("client_secret") == "geheim" }
	e.keys = []string{server.Key}
	l := e.location(t, buckets, identityOfFile("AZURE_CLIENT_SECRET=geheim", "AZURE_SUBSCRIPTION_ID=sub", "AZURE_RESOURCE_GROUP=other"))
	delete(l.Config, "useAAD")
	l.Config["resourceGroup"] = "group" // it wins over the file's
	b := open(t, l)
	store.SetResourceManager(b, e.URL)
	storetest.Writes(t, b, azurePartSize)

	time.Sleep(azuriteSaves)
	if err := server.Stop(); err != nil {
		t.Fatal(err)
	}
	startAzurite(t, testenv.AzuriteOptions{Root: root, Key: "a2V5LTI=", Listen: strings.Split(strings.TrimPrefix(server.URL, "http://"), "/")[0]})
	if err := b.Create(t.Context(), "young", nil); !errors.Is(err, store.ErrDenied) {
		t.Errorf("with the old key: %v", err)
	}
	e.mu.Lock()
	e.keys = append(e.keys, "a2V5LTI=")
	e.mu.Unlock()
	store.AgeKey(b)
	storetest.Put(t, b, "after", storetest.Content(2*azurePartSize+1))
	storetest.CheckContent(t, b, "after", storetest.Content(2*azurePartSize+1))
}

func TestAzureKeyExchangeRefused(t *testing.T) {
	t.Parallel()
	e := newEntra(t, false)
	e.accept = func(r *http.Request) bool { return r.Form.Get("client_secret") == "geheim" }
	l := e.location(t, &azuriteBuckets{testenv.Azurite(t, false)}, identityOfFile("AZURE_CLIENT_SECRET=geheim", "AZURE_SUBSCRIPTION_ID=sub", "AZURE_RESOURCE_GROUP=group"))
	delete(l.Config, "useAAD")
	b := open(t, l)
	store.SetResourceManager(b, e.URL)
	_, err := b.Stat(t.Context(), "k")
	want := `get the key of storage account "testbed" in resource group "group": access denied: AuthorizationFailed: The client does not have authorization to perform action 'Microsoft.Storage/storageAccounts/listKeys/action'.; hint: set the config key "useAAD" of the location to "true", or grant the identity Microsoft.Storage/storageAccounts/listkeys/action on the account`
	if err == nil || !errors.Is(err, store.ErrDenied) || err.Error() != want {
		t.Error(err)
	}
}

// TestAzureTokenIsRefreshed has an upload that takes longer than a token lives.
func TestAzureTokenIsRefreshed(t *testing.T) {
	t.Parallel()
	buckets := &azuriteBuckets{testenv.Azurite(t, true)}
	e := newEntra(t, false)
	e.lifetime = 5 * time.Second
	e.accept = func(r *http.Request) bool { return r.Form.Get("client_secret") == "geheim" }
	b := open(t, e.location(t, buckets, identityOfFile("AZURE_CLIENT_SECRET=geheim")))
	want := storetest.Content(8 * azurePartSize)
	r, w := io.Pipe()
	go func() {
		var err error
		for i := 0; i < len(want) && err == nil; i += azurePartSize {
			time.Sleep(time.Second)
			_, err = w.Write(want[i : i+azurePartSize])
		}
		_ = w.CloseWithError(err)
	}()
	if err := b.Put(t.Context(), "k", r); err != nil {
		t.Fatal(err)
	}
	storetest.CheckContent(t, b, "k", want)
	if e.count() < 2 {
		t.Errorf("%d tokens", e.count())
	}
}

// TestAzureNoToken has an address where nothing listens any more, so it doesn't run
// beside tests that start servers.
func TestAzureNoToken(t *testing.T) {
	buckets := &azuriteBuckets{testenv.Azurite(t, true)}
	e := newEntra(t, false)
	e.accept = func(*http.Request) bool { return false }
	refused := e.location(t, buckets, identityOfFile("AZURE_CLIENT_SECRET=geheim"))
	down := newEntra(t, false)
	away := down.location(t, buckets, identityOfFile("AZURE_CLIENT_SECRET=geheim"))
	down.Close()
	untrusted := e.location(t, buckets, identityOfFile("AZURE_CLIENT_SECRET=geheim"))
	untrusted.CACert = buckets.server.CACert
	for name, test := range map[string]struct {
		location store.Location
		want     error
		text     string
	}{
		"refused":   {refused, store.ErrDenied, "no credentials: get a token with a client secret: invalid_client: AADSTS7000215: Invalid client secret provided. Ensure it is the value.; hint: the client secret is wrong"},
		"away":      {away, store.ErrUnavailable, "storage is unavailable: get a token with a client secret: dial tcp"},
		"untrusted": {untrusted, nil, "hint: name the certificate of the store's CA"},
	} {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			for call, err := range everyAzureCall(t.Context(), open(t, test.location)) {
				if err == nil || test.want != nil && !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.text) || strings.Contains(err.Error(), "geheim") {
					t.Errorf("%s: %v", call, err)
				}
			}
			t.Logf("%s", time.Since(start))
		})
	}
}

func azureFile(t *testing.T, body string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(body), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// clientCertificate is a self-signed certificate with its key, as PEM.
func clientCertificate(t *testing.T) string {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "velero"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})) + string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}
