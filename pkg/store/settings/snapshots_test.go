package settings

import "testing"

func TestCheckSnapshots(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, provider string
		config         map[string]string
		want           string // the error; empty: none
	}{
		{"aws", "aws", map[string]string{"region": "eu-central-1", "profile": "p", "enableSharedConfig": "true", "ebsKmsKeyId": "k"}, ""},
		{"azure", "velero.io/azure", map[string]string{"apiTimeout": "5m", "incremental": "true", "tags": "a=b,c=", "resourceGroup": "r"}, ""},
		{"gcp", "gcp", map[string]string{"snapshotLocation": "eu", "snapshotType": "ARCHIVE", "project": "p", "volumeProject": "v"}, ""},
		{"somebody else's", "example.com/disks", map[string]string{"anything": "goes"}, ""},
		{"none", "", nil, `no provider is named; hint: it is one of "aws", "azure", "gcp"`},
		{"no region", "aws", nil, `config key "region" is missing; hint: set it to the region of the disks, such as region=eu-central-1`},
		{"misspelt", "azure", map[string]string{"resourcegroup": "r"}, `unknown config key "resourcegroup"; hint: did you mean "resourceGroup"?`},
		{"bool", "azure", map[string]string{"incremental": "yes"}, `config key "incremental": "yes" is not a boolean; hint: set it to "true" or "false"`},
		{"duration", "azure", map[string]string{"apiTimeout": "2"}, `config key "apiTimeout": "2" is not a duration; hint: write 2m0s`},
		{"tags", "azure", map[string]string{"tags": "a=b;c"}, ""},
		{"no tags", "azure", map[string]string{"tags": "a,b"}, `config key "tags": "a,b" is not of the form key1=value1,key2=value2`},
		{"type", "gcp", map[string]string{"snapshotType": "FAST"}, `config key "snapshotType": "FAST" is not one of "STANDARD" and "ARCHIVE"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got := ""
			if err := CheckSnapshots(test.provider, test.config); err != nil {
				got = err.Error()
			}
			if got != test.want {
				t.Errorf("error %q, want %q", got, test.want)
			}
		})
	}
}
