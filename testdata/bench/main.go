// Command bench measures backups and restores against floors, on a real API
// server with etcd and a real S3 server, all on loopback, and uploads to each kind
// of store against the client that its maker offers, and ten volumes with snapshots
// against one: `make bench`.
//
// A floor is what nobody can do without. For backups: the lists that the backup
// takes, as raw pages of 500, up to eight kinds at once, with every page gzipped
// twice at the archive's level, since the format holds each object twice, and
// thrown away. For restores: the same objects created by a plain client with
// their bodies in memory, with as many workers as are best; for restores that
// find everything there: the lists of the same kinds, thrown away. Floors and
// executor are processes of their own and take turns; the executor is timed from
// start to exit; what is told is the median.
//
// Nothing is told of an operation that is wrong. Each must end as Completed; a
// backup's archive is read back and compared with the cluster, and after each
// restore, and each floor of one, the cluster is compared with the archive,
// object by object, and uploads are read back. How fast it was is printed and written to bench.json in the
// repository, but never a reason to fail.
//
// Environment:
//
//	BENCH=restore   measure only that, or only backup, upload or snapshots;
//	                bench.json keeps the others
//	OBJECTS=10500   objects of the mix; above the default, that is measured too,
//	                since memory must not grow
//	ROUNDS=5        turns; default 5, of restores 3; above 20,000 objects 3 and 1;
//	                of uploads 3
//	UPLOAD=1024     MiB that an upload has
//	STORE=minio     upload only there
//	SECRETS=1000    measure backups of so many Secrets of 1 MiB as well
//	PROFILE=dir     write CPU and heap profiles of one more operation there
//	KEEP=1          leave the clusters up; the next run uses them
//	EXECUTOR=path   the executor; default bin/executor
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := command(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// command runs the bench, or one of the parts that it runs as processes.
func command(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return benchmark(ctx)
	}
	switch args[0] {
	case processCommand:
		return runProcess(args[1:])
	case floorCommand:
		return runFloor(ctx, args[1:])
	case createCommand:
		return runCreate(ctx, args[1:])
	case profileCommand:
		return runProfile(ctx, args[1:])
	}
	return fmt.Errorf("unknown argument %q; hint: options are environment variables, see the package's comment", args[0])
}

// benchmark measures every data set that the options ask for.
func benchmark(ctx context.Context) error {
	o, err := optionsFromEnv()
	if err != nil {
		return err
	}
	var all summary
	for _, set := range o.sets() {
		measured, err := measureSet(ctx, o, set)
		if err != nil {
			return fmt.Errorf("measure %s: %w", set.title(), err)
		}
		all.backups = append(all.backups, measured)
		measured.print(os.Stdout)
	}
	for _, set := range o.restoreSets() {
		measured, err := measureRestores(ctx, o, set)
		if err != nil {
			return fmt.Errorf("measure restore of %s: %w", set.title(), err)
		}
		all.restores = append(all.restores, measured)
		measured.print(os.Stdout)
	}
	if o.only == "" || o.only == onlyUpload {
		if all.uploads, err = measureUploads(ctx, o); err != nil {
			return fmt.Errorf("measure uploads: %w", err)
		}
		all.uploads.print(os.Stdout)
	}
	if o.only == "" || o.only == onlySnapshots {
		if all.snapshots, err = measureSnapshots(ctx, o); err != nil {
			return fmt.Errorf("measure snapshots: %w", err)
		}
		all.snapshots.print(os.Stdout)
	}
	all.printTargets(os.Stdout)
	return all.write(o.path("bench.json"))
}

// measureSet brings up the cluster of a data set, measures backups of it, and
// takes it down unless it is to be kept.
func measureSet(ctx context.Context, o options, set dataSet) (_ *result, err error) {
	b, err := startBed(ctx, o, set)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, b.stop(o.keep)) }()
	if err := b.load(ctx); err != nil {
		return nil, err
	}
	return b.measure(ctx)
}
