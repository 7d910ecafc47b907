package main

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	// Records in one message batch, which is what one pipeline thread works on at a time.
	batchRecords = 1000
	// As the other sides' transactions last.
	commitInterval = 100 * time.Millisecond
)

func inputSpec() *service.ConfigSpec {
	return service.NewConfigSpec().
		Summary("Records of a topic, by a consumer group, at least once.").
		Field(service.NewStringField("brokers")).
		Field(service.NewStringField("topic")).
		Field(service.NewStringField("group"))
}

// A batch that was read and is not committed yet.
type inFlight struct {
	records []*kgo.Record
	isDone  bool
}

type input struct {
	options []kgo.Opt
	client  *kgo.Client

	lock sync.Mutex
	// In the order of reading. Batches may be done in any order, and an offset is committed only
	// when everything before it is done.
	open []*inFlight
}

func newInput(conf *service.ParsedConfig, _ *service.Resources) (service.BatchInput, error) {
	brokers, err := conf.FieldString("brokers")
	if err != nil {
		return nil, err
	}
	topic, err := conf.FieldString("topic")
	if err != nil {
		return nil, err
	}
	group, err := conf.FieldString("group")
	if err != nil {
		return nil, err
	}
	in := &input{options: []kgo.Opt{
		kgo.SeedBrokers(brokers),
		kgo.ConsumeTopics(topic),
		kgo.ConsumerGroup(group),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.AutoCommitMarks(),
		kgo.AutoCommitInterval(commitInterval),
	}}
	return service.AutoRetryNacksBatched(in), nil
}

func (in *input) Connect(context.Context) error {
	client, err := kgo.NewClient(in.options...)
	if err == nil {
		in.client = client
	}
	return err
}

func (in *input) ReadBatch(ctx context.Context) (service.MessageBatch, service.AckFunc, error) {
	fetches := in.client.PollRecords(ctx, batchRecords)
	if err := fetches.Err(); err != nil {
		if errors.Is(err, kgo.ErrClientClosed) {
			err = service.ErrEndOfInput
		}
		return nil, nil, err
	}
	records := fetches.Records()
	batch := make(service.MessageBatch, len(records))
	for i, record := range records {
		batch[i] = service.NewMessage(record.Value)
	}
	flight := &inFlight{records: records}
	in.lock.Lock()
	in.open = append(in.open, flight)
	in.lock.Unlock()
	return batch, func(_ context.Context, err error) error {
		// What has failed is tried again by AutoRetryNacks, and stays open here.
		if err == nil {
			in.done(flight)
		}
		return nil
	}, nil
}

func (in *input) done(flight *inFlight) {
	in.lock.Lock()
	defer in.lock.Unlock()
	flight.isDone = true
	for len(in.open) > 0 && in.open[0].isDone {
		in.client.MarkCommitRecords(in.open[0].records...)
		in.open = in.open[1:]
	}
}

func (in *input) Close(ctx context.Context) error {
	if in.client == nil {
		return nil
	}
	err := in.client.CommitMarkedOffsets(ctx)
	in.client.Close()
	return err
}
