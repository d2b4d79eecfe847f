package store

// SetMaxParts lowers the number of parts that an upload may have.
func SetMaxParts(b Bucket, n int) { b.(*s3Bucket).maxParts = n }
