package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kubectl-velero/kubectl-velero/testdata/cluster/internal/assets"
	"github.com/kubectl-velero/kubectl-velero/testdata/cluster/internal/cluster"
)

func newBuildCommand() *cobra.Command {
	var mode string
	var csi bool
	cmd := &cobra.Command{
		Use:   "build",
		Short: "Build and download all that a mode needs",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			parsed, err := cluster.ParseMode(mode)
			if err != nil {
				return err
			}
			m, err := newManager(cmd)
			if err != nil {
				return err
			}
			parts := assets.Parts{Node: parsed == cluster.ModeFull, CSI: csi}
			return assets.Builder{State: m.State, Out: m.Progress}.Build(cmd.Context(), parts)
		},
	}
	modeFlag(cmd, &mode)
	cmd.Flags().BoolVar(&csi, "csi", false, "also the CSI driver, its sidecars and the snapshot API's definitions, below bin/csi")
	return cmd
}

func newUpCommand() *cobra.Command {
	var name, mode, services string
	var csi bool
	var data string
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Make a cluster run, and print the path of its kubeconfig",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			parsed, err := cluster.ParseMode(mode)
			if err != nil {
				return err
			}
			m, err := newManager(cmd)
			if err != nil {
				return err
			}
			if services != "" {
				if parsed != cluster.ModeAPI {
					return errors.New("--services is for --mode api")
				}
				if m.Services, err = netip.ParsePrefix(services); err != nil {
					return fmt.Errorf("--services: %w", err)
				}
			}
			if csi && parsed != cluster.ModeFull {
				return errors.New("--csi is for --mode full")
			}
			if data != "" && (!csi || !filepath.IsAbs(data)) {
				return errors.New("--csi-data is for --csi, and an absolute path")
			}
			m.CSI, m.CSIData = csi, data
			kubeconfig, err := m.Up(cmd.Context(), name, parsed)
			if err != nil {
				return err
			}
			fmt.Fprintln(cmd.OutOrStdout(), kubeconfig)
			return nil
		},
	}
	nameFlag(cmd, &name)
	modeFlag(cmd, &mode)
	cmd.Flags().BoolVar(&csi, "csi", false, "with a CSI driver that can take snapshots, mode full only")
	cmd.Flags().StringVar(&data, "csi-data", "", "absolute path of another cluster's folder of volumes and snapshots, which this one then shares; default is one of its own")
	cmd.Flags().StringVar(&services, "services", "", "range of service addresses of a cluster that is started, mode api only; default 10.97.0.0/16")
	return cmd
}

func newDownCommand() *cobra.Command {
	var name string
	var all bool
	cmd := &cobra.Command{
		Use:   "down",
		Short: "End a cluster and remove all that it left",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			m, err := newManager(cmd)
			if err != nil {
				return err
			}
			names := []string{name}
			if all {
				if names, err = m.State.Clusters(); err != nil {
					return err
				}
			}
			var errs []error
			for _, name := range names {
				errs = append(errs, m.Down(cmd.Context(), name))
			}
			return errors.Join(errs...)
		},
	}
	nameFlag(cmd, &name)
	cmd.Flags().BoolVar(&all, "all", false, "end every cluster of this state folder")
	cmd.MarkFlagsMutuallyExclusive("name", "all")
	return cmd
}

func newStatusCommand() *cobra.Command {
	var name, output string
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Say how a cluster is and how to reach it",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			m, err := newManager(cmd)
			if err != nil {
				return err
			}
			status, err := m.Status(cmd.Context(), name)
			if err != nil {
				return err
			}
			switch output {
			case "":
				return status.Print(cmd.OutOrStdout())
			case "json":
				encoder := json.NewEncoder(cmd.OutOrStdout())
				encoder.SetIndent("", "  ")
				return encoder.Encode(status)
			}
			return fmt.Errorf("output form %q: only json is known", output)
		},
	}
	nameFlag(cmd, &name)
	cmd.Flags().StringVarP(&output, "output", "o", "", "json, or empty for people")
	return cmd
}

func newKubeconfigCommand() *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use:   "kubeconfig",
		Short: "Print the path of a cluster's kubeconfig",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			m, err := newManager(cmd)
			if err != nil {
				return err
			}
			path, err := m.Kubeconfig(name)
			if err != nil {
				return err
			}
			fmt.Fprintln(cmd.OutOrStdout(), path)
			return nil
		},
	}
	nameFlag(cmd, &name)
	return cmd
}

func newVerifyCleanCommand() *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use:   "verify-clean",
		Short: "Fail and list what clusters have on the machine, if anything",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			m, err := newManager(cmd)
			if err != nil {
				return err
			}
			left, err := m.Leftovers(name)
			if err != nil {
				return err
			}
			if len(left) > 0 {
				return fmt.Errorf("the machine is not clean:\n  %s", strings.Join(left, "\n  "))
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&name, "name", "", "look for this cluster only; empty is all of this state folder")
	return cmd
}
