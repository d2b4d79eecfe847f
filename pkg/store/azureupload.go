package store

import (
	"context"
	"crypto/md5"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/streaming"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
)

// azureUploadBackoff is the longest pause before a request of an upload under way is
// repeated.
const azureUploadBackoff = 10 * time.Second

// blockIDBytes is the length of a block's id. All blocks of a blob must have ids of
// one length, those that Velero left of an upload that died too: it has this one.
const blockIDBytes = 8

// azureUpload writes one object from a stream. The SDK's UploadStream does the same,
// but its blocks have ids of another length than those that Velero leaves, and its
// errors don't tell trouble with the stream from trouble with the store.
type azureUpload struct {
	bucket *azureBucket
	key    string
	blob   *blockblob.Client
	stream *parts
	// id tells the blocks of this upload from those of others to the same name.
	id [blockIDBytes - 2]byte
	// blocks is how many have been sent.
	blocks atomic.Int32
}

// Put implements Bucket. Until all is there, the object is as it was: what is sent
// is committed at the end.
func (b *azureBucket) Put(ctx context.Context, key string, r io.Reader) (err error) {
	defer func() {
		if err != nil {
			release(r, err)
		}
	}()
	if err := checkAzureKey(key); err != nil {
		return err
	}
	clients, err := b.connect(ctx)
	if err != nil {
		return err
	}
	u := &azureUpload{
		bucket: b,
		key:    key,
		blob:   clients.container.NewBlockBlobClient(b.prefix + key),
		stream: newParts(r, b.config.PartSize, b.maxBlocks),
	}
	_, _ = rand.Read(u.id[:]) // never fails
	if err := u.run(ctx); err != nil {
		return u.fail(ctx, err)
	}
	return nil
}

// run makes one request of a stream that fits into one part, else one for each part
// and one for their list.
func (u *azureUpload) run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { release(u.stream.body, context.Cause(ctx)) })
	defer stop()
	first, last, err := u.stream.next(ctx)
	if err != nil {
		return err
	}
	if last {
		stored, err := u.blob.Upload(ctx, streaming.NopCloser(first.reader()), &blockblob.UploadOptions{TransactionalValidation: azureChecksum(first.reader())})
		if err == nil {
			u.bucket.noteVersion(stored.VersionID)
		}
		return err
	}
	if err := u.begin(ctx); err != nil {
		return err
	}
	if err := u.stream.sendAll(ctx, first, u.send); err != nil {
		return err
	}
	return u.commit(ctx)
}

// begin looks whether the container can be reached: a store that is down is told in
// time, and a missing container before a part was sent to it.
func (u *azureUpload) begin(ctx context.Context) error {
	_, err := u.bucket.properties(ctx, "write object", u.key)
	if errors.Is(err, ErrNotExist) || errors.Is(err, ErrDenied) {
		// An account that may not read may write, perhaps.
		return nil
	}
	return err
}

// send is called for all parts, but not in order.
func (u *azureUpload) send(ctx context.Context, number int, p *part) error {
	_, err := u.blob.StageBlock(insistAzure(ctx), u.blockID(number), streaming.NopCloser(p.reader()), &blockblob.StageBlockOptions{
		TransactionalValidation: azureChecksum(p.reader()),
	})
	if err == nil {
		u.blocks.Add(1)
	}
	return err
}

// blockID is unique among all uploads: two writers of one name don't mix what they
// write, and the second one to commit is refused.
func (u *azureUpload) blockID(number int) string {
	return base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint16(u.id[:len(u.id):len(u.id)], uint16(number)))
}

func (u *azureUpload) commit(ctx context.Context) error {
	ids := make([]string, u.blocks.Load())
	for i := range ids {
		ids[i] = u.blockID(i + 1)
	}
	stored, err := u.blob.CommitBlockList(insistAzure(ctx), ids, nil)
	if err == nil {
		u.bucket.noteVersion(stored.VersionID)
	}
	return err
}

// insistAzure is for requests of an upload under way: when one is given up, all that
// was sent before it is lost.
func insistAzure(ctx context.Context) context.Context {
	return policy.WithRetryOptions(ctx, azureRetry(uploadAttempts, azureUploadBackoff))
}

// azureChecksum is what Azure compares what it gets with. It has a CRC of its own too,
// but not all that speaks its protocol computes that in a reasonable time.
func azureChecksum(r io.Reader) blob.TransferValidationType {
	sum := md5.New()
	_, _ = io.Copy(sum, r) // neither fails
	return blob.TransferValidationTypeMD5(sum.Sum(nil))
}

// fail describes what went wrong, unless that is done already.
func (u *azureUpload) fail(ctx context.Context, err error) error {
	const op = "write object"
	var done *opError
	var read *readError
	switch b := u.bucket; {
	case errors.As(err, &done):
		return done
	case errors.As(err, &read):
		return &opError{op: b.describe(op, u.key), cause: read, detail: scrub(read.Error(), b.account.secrets()...)}
	case errors.Is(err, errTooManyParts):
		return u.tooLarge()
	default:
		return b.explainLock(ctx, b.fail(ctx, op, u.key, err), u.key)
	}
}

// tooLarge says which limit was met.
func (u *azureUpload) tooLarge() error {
	size, most := u.bucket.config.PartSize, int64(u.bucket.maxBlocks)
	return &opError{
		op:     u.bucket.describe("write object", u.key),
		cause:  errTooManyParts,
		detail: fmt.Sprintf("it is larger than %d blocks of %d bytes, which is the most that can be stored (%d GiB)", most, size, most*size>>30),
		hint:   fmt.Sprintf("set the config key \"partSizeMiB\" of the location to more than %d", size>>20),
	}
}
