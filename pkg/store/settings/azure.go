package settings

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

const (
	// The limits that Azure sets to the blocks of a blob:
	// https://learn.microsoft.com/azure/storage/blobs/scalability-targets
	maxAzurePartSizeMiB = 4000
	// maxBlockSize is what Velero allows in blockSizeInBytes.
	maxBlockSize = 100 << 20
)

// Azure is the config of a location of provider velero.io/azure. Where Subscription
// or ResourceGroup is empty, the credentials' are meant.
type Azure struct {
	StorageAccount string
	// Endpoint is the account's URL for blobs; empty: it is asked for, or made from
	// the account's name.
	Endpoint        string
	Subscription    string
	ResourceGroup   string
	KeyVariable     string // the variable of the credentials that has the account's key
	UseAAD          bool   // sign requests with a token of Microsoft Entra
	Authority       string // where tokens are issued; empty: the cloud's
	Insecure        bool   // don't verify TLS
	CredentialsFile string
	PartSize        int64 // bytes
}

// azureKeys are the settings of a location of provider velero.io/azure. All but
// partSizeMiB and insecureSkipTLSVerify are Velero's.
var azureKeys = map[string]func(a *Azure, value string) error{
	"storageAccount":              setStorageAccount,
	"storageAccountURI":           func(a *Azure, v string) error { return setURL(&a.Endpoint, v, "https", "http") },
	"subscriptionId":              func(a *Azure, v string) error { a.Subscription = v; return nil },
	"resourceGroup":               func(a *Azure, v string) error { a.ResourceGroup = v; return nil },
	"storageAccountKeyEnvVar":     setKeyVariable,
	"useAAD":                      func(a *Azure, v string) error { return setBool(&a.UseAAD, v) },
	"activeDirectoryAuthorityURI": func(a *Azure, v string) error { return setURL(&a.Authority, v, "https") },
	"insecureSkipTLSVerify":       func(a *Azure, v string) error { return setBool(&a.Insecure, v) },
	"credentialsFile":             func(a *Azure, v string) error { a.CredentialsFile = v; return nil },
	"blockSizeInBytes":            setBlockSize,
	"partSizeMiB":                 setAzurePartSize,
}

// ParseAzure reads the config.
func ParseAzure(config map[string]string) (Azure, error) {
	a := Azure{PartSize: defaultPartSizeMiB << 20}
	if err := parse(&a, azureKeys, config); err != nil {
		return a, err
	}
	switch {
	case a.StorageAccount == "":
		return a, fmt.Errorf("config key \"storageAccount\" is missing; hint: set it to the name of the Azure storage account")
	case config["blockSizeInBytes"] != "" && config["partSizeMiB"] != "":
		return a, fmt.Errorf("config keys \"blockSizeInBytes\" and \"partSizeMiB\" mean the same; hint: leave one of them out")
	case a.UseAAD && a.KeyVariable == "" && strings.HasPrefix(a.Endpoint, "http://"):
		return a, fmt.Errorf("config key \"useAAD\": a token must not travel over plain http; hint: let storageAccountURI start with https://")
	}
	return a, nil
}

// accountName is Azure's rule, which keeps a name from changing the host that it
// becomes part of.
var accountName = regexp.MustCompile(`^[a-z0-9]{3,24}$`)

func setStorageAccount(a *Azure, value string) error {
	if value != "" && !accountName.MatchString(value) {
		return fmt.Errorf("%q is not the name of a storage account: 3 to 24 lower-case letters and digits", value)
	}
	a.StorageAccount = value
	return nil
}

// setKeyVariable doesn't quote a value that isn't a variable's name: it may be the
// key itself.
func setKeyVariable(a *Azure, value string) error {
	if strings.ContainsAny(value, "=/+ ") {
		return fmt.Errorf("not the name of a variable; hint: put the account's key into the location's credentials secret, as NAME=KEY, and set this to NAME")
	}
	a.KeyVariable = value
	return nil
}

// setURL never quotes the value: it may hold a password or a signature.
func setURL(to *string, value string, schemes ...string) error {
	if value == "" {
		return nil
	}
	u, err := url.Parse(value)
	switch {
	case err != nil || u.Host == "" || !slices.Contains(schemes, u.Scheme):
		return fmt.Errorf("not a URL that starts with %s://", strings.Join(schemes, ":// or "))
	case u.User != nil:
		return fmt.Errorf("the URL must not hold a user or password; hint: put the account's key into the location's credentials secret")
	case u.RawQuery != "" || u.Fragment != "":
		return fmt.Errorf("the URL must not hold a query or a fragment; hint: a shared access signature is no credential for a location: use the account's key or Microsoft Entra")
	}
	*to = strings.TrimSuffix(value, "/")
	return nil
}

func setBlockSize(a *Azure, value string) error {
	if value == "" {
		return nil
	}
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil || n < 1 || n > maxBlockSize {
		return fmt.Errorf("%q is not a number of bytes from 1 to %d; hint: set partSizeMiB for larger ones", value, maxBlockSize)
	}
	a.PartSize = n
	return nil
}

func setAzurePartSize(a *Azure, value string) error {
	if value == "" {
		return nil
	}
	n, err := strconv.Atoi(value)
	if err != nil || n < 1 || n > maxAzurePartSizeMiB {
		return fmt.Errorf("%q is not a number from 1 to %d", value, maxAzurePartSizeMiB)
	}
	a.PartSize = int64(n) << 20
	return nil
}
