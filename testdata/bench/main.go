// Command bench measures backups against a floor, on a real API server with
// etcd and a real S3 server, all on loopback: `make bench`.
//
// The floor is what nobody can do without: the lists that the backup takes, as
// raw pages of 500, up to eight kinds at once, with every page gzipped twice at
// the archive's level, since the format holds each object twice, and thrown away.
// Floor and executor are processes of their own, timed from start to exit, and
// take turns; what is told is the median.
//
// Nothing is told of a backup that is wrong: each must end as Completed, and its
// archive is read back and compared with the cluster. How fast it was is printed
// and written to bench.json in the repository, but never a reason to fail.
//
// Environment:
//
//	OBJECTS=10500   objects of the mix; above the default, that is measured too,
//	                since memory must not grow
//	ROUNDS=5        turns; default 5, above 20,000 objects 3
//	SECRETS=1000    measure a cluster with so many Secrets of 1 MiB as well
//	PROFILE=dir     write CPU and heap profiles of one more backup there
//	KEEP=1          leave the loaded clusters up; the next run uses them
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
	var all results
	for _, set := range o.sets() {
		measured, err := measureSet(ctx, o, set)
		if err != nil {
			return fmt.Errorf("measure %s: %w", set.title(), err)
		}
		all = append(all, measured)
		measured.print(os.Stdout)
	}
	all.printTargets(os.Stdout)
	return all.write(o.path("bench.json"))
}

// measureSet brings up the cluster of a data set, measures, and takes it down
// unless it is to be kept.
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
