package azuredisk

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kubectl-velero/kubectl-velero/pkg/snapshot"
	"github.com/kubectl-velero/kubectl-velero/pkg/snapshot/azuredisk/armtest"
)

func TestParseSettings(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		config map[string]string
		want   settings
	}{
		{"none", nil, settings{timeout: 2 * time.Minute}},
		{"all", map[string]string{
			"apiTimeout": "5m", "resourceGroup": "g", "subscriptionId": "s", "incremental": "true", "tags": "team=shop, stage=a=b",
			"credentialsFile": "/c", "activeDirectoryAuthorityURI": "https://login.example",
		}, settings{timeout: 5 * time.Minute, snapshots: place{"s", "g"}, incremental: true, tags: map[string]string{"team": "shop", "stage": "a=b"}}},
		{"empty", map[string]string{"apiTimeout": "", "incremental": "", "tags": ""}, settings{timeout: 2 * time.Minute}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if test.want.tags == nil {
				test.want.tags = map[string]string{}
			}
			got, err := parseSettings(test.config)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got, cmp.AllowUnexported(settings{}, place{})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	server := armtest.Start(t)
	whole := armtest.Credentials()
	for _, test := range []struct {
		name        string
		settings    map[string]string
		credentials []string
		want        string
	}{
		{"timeout", map[string]string{"apiTimeout": "-1s"}, whole, `config key "apiTimeout": "-1s" is not a duration; hint: write 2m0s`},
		{"incremental", map[string]string{"incremental": "yes"}, whole, `config key "incremental": "yes" is not a boolean; hint: set it to "true" or "false"`},
		{"tags", map[string]string{"tags": "a"}, whole, `config key "tags": "a" is not of the form key1=value1,key2=value2`},
		{"authority", map[string]string{"activeDirectoryAuthorityURI": "http://x"}, whole, `config key "activeDirectoryAuthorityURI": not a URL that starts with https://`},
		{"cloud", nil, append(whole[:len(whole):len(whole)], "AZURE_CLOUD_NAME=Moon"),
			`AZURE_CLOUD_NAME "Moon" in the credentials file "FILE" is not known; hint: it is AzurePublicCloud, AzureChinaCloud or AzureUSGovernmentCloud`},
		{"no group", nil, append([]string{whole[0]}, whole[2:]...),
			"the credentials file \"FILE\" has no AZURE_RESOURCE_GROUP; hint: name the subscription and the resource group that the cluster's disks are in: `az aks show --query nodeResourceGroup` tells the group"},
		{"no subscription", nil, whole[1:],
			"the credentials file \"FILE\" has no AZURE_SUBSCRIPTION_ID; hint: name the subscription and the resource group that the cluster's disks are in: `az aks show --query nodeResourceGroup` tells the group"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			config := server.ConfigWith(t, test.settings, test.credentials)
			_, err := Open(t.Context(), config)
			checkError(t, err, config, test.want)
		})
	}
}

// checkError compares the text of an error about the location, in which the path of
// the credentials file is FILE and the id of a request is N.
func checkError(t *testing.T, err error, c snapshot.Config, want string) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	if diff := cmp.Diff(`snapshot location "azure": `+want, normalized(err.Error(), c)); diff != "" {
		t.Error(diff)
	}
}
