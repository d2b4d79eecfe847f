// Package apis is the parent of the velero.io API packages. It holds nothing but the
// commands that generate their deep copies and their CustomResourceDefinitions;
// controller-gen is pinned in testdata/tools.
package apis

//go:generate go tool -modfile=../../testdata/tools/go.mod controller-gen object paths=./velero/...
//go:generate go tool -modfile=../../testdata/tools/go.mod controller-gen crd paths=./velero/... output:crd:dir=./crds
