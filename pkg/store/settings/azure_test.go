package settings

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseAzure(t *testing.T) {
	t.Parallel()
	defaults := func(change func(*Azure)) Azure {
		a := Azure{StorageAccount: "velero", PartSize: 16 << 20}
		change(&a)
		return a
	}
	for _, test := range []struct {
		name   string
		config map[string]string
		want   Azure
	}{
		{"least", nil, defaults(func(*Azure) {})},
		{"server", map[string]string{"storageAccountURI": "http://127.0.0.1:10000/velero/", "storageAccountKeyEnvVar": "KEY"},
			defaults(func(a *Azure) { a.Endpoint, a.KeyVariable = "http://127.0.0.1:10000/velero", "KEY" })},
		{"identity", map[string]string{"useAAD": "true", "activeDirectoryAuthorityURI": "https://login.microsoftonline.us/"},
			defaults(func(a *Azure) { a.UseAAD, a.Authority = true, "https://login.microsoftonline.us" })},
		{"key over http beats a token", map[string]string{"useAAD": "true", "storageAccountURI": "http://x", "storageAccountKeyEnvVar": "KEY"},
			defaults(func(a *Azure) { a.UseAAD, a.Endpoint, a.KeyVariable = true, "http://x", "KEY" })},
		{"exchange", map[string]string{"resourceGroup": "g", "subscriptionId": "s"},
			defaults(func(a *Azure) { a.ResourceGroup, a.Subscription = "g", "s" })},
		{"blocks", map[string]string{"blockSizeInBytes": "1048576", "partSizeMiB": ""}, defaults(func(a *Azure) { a.PartSize = 1 << 20 })},
		{"parts", map[string]string{"partSizeMiB": "4000"}, defaults(func(a *Azure) { a.PartSize = 4000 << 20 })},
		{"the rest", map[string]string{"insecureSkipTLSVerify": "true", "credentialsFile": "/c"},
			defaults(func(a *Azure) { a.Insecure, a.CredentialsFile = true, "/c" })},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			config := map[string]string{"storageAccount": "velero"}
			for k, v := range test.config {
				config[k] = v
			}
			got, err := ParseAzure(config)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestParseAzureRefuses(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		config map[string]string
		want   string
	}{
		{"no account", map[string]string{"storageAccount": ""}, `config key "storageAccount" is missing; hint: set it to the name of the Azure storage account`},
		{"account", map[string]string{"storageAccount": "evil.example/x"}, `config key "storageAccount": "evil.example/x" is not the name of a storage account: 3 to 24 lower-case letters and digits`},
		{"misspelt", map[string]string{"storageAccountURL": "x"}, `unknown config key "storageAccountURL"; hint: did you mean "storageAccountURI"?`},
		{"another provider's", map[string]string{"s3Url": "x"}, `unknown config key "s3Url"; hint: did you mean "useAAD"?`},
		{"bool", map[string]string{"useAAD": "yes"}, `config key "useAAD": "yes" is not a boolean; hint: set it to "true" or "false"`},
		{"URI", map[string]string{"storageAccountURI": "velero.blob"}, `config key "storageAccountURI": not a URL that starts with https:// or http://`},
		{"signature", map[string]string{"storageAccountURI": "https://velero.blob?sv=1&sig=geheim"}, `config key "storageAccountURI": the URL must not hold a query or a fragment; hint: a shared access signature is no credential for a location: use the account's key or Microsoft Entra`},
		{"password", map[string]string{"storageAccountURI": "https://u:geheim@velero.blob"}, `config key "storageAccountURI": the URL must not hold a user or password; hint: put the account's key into the location's credentials secret`},
		{"authority", map[string]string{"activeDirectoryAuthorityURI": "http://login"}, `config key "activeDirectoryAuthorityURI": not a URL that starts with https://`},
		{"the key itself", map[string]string{"storageAccountKeyEnvVar": "geheim+geheim=="}, `config key "storageAccountKeyEnvVar": not the name of a variable; hint: put the account's key into the location's credentials secret, as NAME=KEY, and set this to NAME`},
		{"token over http", map[string]string{"useAAD": "true", "storageAccountURI": "http://x"}, `config key "useAAD": a token must not travel over plain http; hint: let storageAccountURI start with https://`},
		{"block size", map[string]string{"blockSizeInBytes": "104857601"}, `config key "blockSizeInBytes": "104857601" is not a number of bytes from 1 to 104857600; hint: set partSizeMiB for larger ones`},
		{"part size", map[string]string{"partSizeMiB": "4001"}, `config key "partSizeMiB": "4001" is not a number from 1 to 4000`},
		{"both sizes", map[string]string{"partSizeMiB": "1", "blockSizeInBytes": "1"}, `config keys "blockSizeInBytes" and "partSizeMiB" mean the same; hint: leave one of them out`},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			config := map[string]string{"storageAccount": "velero"}
			for k, v := range test.config {
				config[k] = v
			}
			_, err := ParseAzure(config)
			if err == nil {
				t.Fatal("no error")
			}
			if diff := cmp.Diff(test.want, err.Error()); diff != "" {
				t.Error(diff)
			}
			if strings.Contains(err.Error(), "geheim") {
				t.Errorf("secret in %q", err)
			}
		})
	}
}
