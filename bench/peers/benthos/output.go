package main

import (
	"context"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	// As long as a batch of messages takes to be handed over.
	linger = 2 * time.Millisecond
	// Several batches of messages.
	bufferedRecords = 100_000
)

func outputSpec() *service.ConfigSpec {
	return service.NewConfigSpec().
		Summary("Records of a topic, acknowledged by all replicas, compressed with lz4.").
		Field(service.NewStringField("brokers")).
		Field(service.NewStringField("topic")).
		Field(service.NewInterpolatedStringField("key")).
		Field(service.NewOutputMaxInFlightField())
}

type output struct {
	options []kgo.Opt
	client  *kgo.Client
	key     *service.InterpolatedString
}

func newOutput(conf *service.ParsedConfig, _ *service.Resources) (
	out service.BatchOutput, policy service.BatchPolicy, maxInFlight int, err error,
) {
	var brokers, topic string
	var key *service.InterpolatedString
	if brokers, err = conf.FieldString("brokers"); err != nil {
		return
	}
	if topic, err = conf.FieldString("topic"); err != nil {
		return
	}
	if key, err = conf.FieldInterpolatedString("key"); err != nil {
		return
	}
	if maxInFlight, err = conf.FieldMaxInFlight(); err != nil {
		return
	}
	out = &output{key: key, options: []kgo.Opt{
		kgo.SeedBrokers(brokers),
		kgo.DefaultProduceTopic(topic),
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.ProducerBatchCompression(kgo.Lz4Compression()),
		kgo.ProducerLinger(linger),
		kgo.MaxBufferedRecords(bufferedRecords),
	}}
	return
}

func (out *output) Connect(context.Context) error {
	client, err := kgo.NewClient(out.options...)
	if err == nil {
		out.client = client
	}
	return err
}

func (out *output) WriteBatch(ctx context.Context, batch service.MessageBatch) error {
	keys := batch.InterpolationExecutor(out.key)
	records := make([]*kgo.Record, len(batch))
	for i, message := range batch {
		value, err := message.AsBytes()
		if err != nil {
			return err
		}
		key, err := keys.TryBytes(i)
		if err != nil {
			return err
		}
		records[i] = &kgo.Record{Key: key, Value: value}
	}
	return out.client.ProduceSync(ctx, records...).FirstErr()
}

func (out *output) Close(context.Context) error {
	if out.client != nil {
		out.client.Close()
	}
	return nil
}
