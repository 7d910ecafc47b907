// The same job in Benthos, the engine of Redpanda Connect: its own command line, with a Kafka input
// and output beside the components that it comes with.
package main

import (
	"context"

	_ "github.com/redpanda-data/benthos/v4/public/components/io"
	_ "github.com/redpanda-data/benthos/v4/public/components/pure"
	"github.com/redpanda-data/benthos/v4/public/service"
)

func main() {
	if err := register(); err != nil {
		panic(err)
	}
	service.RunCLI(context.Background())
}

func register() error {
	if err := service.RegisterBatchInput("kafka_records", inputSpec(), newInput); err != nil {
		return err
	}
	return service.RegisterBatchOutput("kafka_records", outputSpec(), newOutput)
}
