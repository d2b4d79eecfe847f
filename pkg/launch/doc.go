// Package launch turns an operation into a Job and tells how the Job fares. It
// builds Jobs and CronJobs from the installation's PodTemplate (pure functions),
// starts them, joins what the Backup or Restore, its Job, pods and events say
// into one verdict (pure too), follows an operation to its end, and writes down
// an end that the executor could not write itself. It also gives a restore the
// rights it runs with. It does not know what runs inside the Job.
package launch
