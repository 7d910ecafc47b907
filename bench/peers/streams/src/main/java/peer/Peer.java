package peer;

import java.time.Duration;
import java.util.Properties;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.state.Stores;
import peer.Messages.EventConfig;
import peer.Messages.Input;
import peer.Messages.Output;

/** Runs until SIGTERM: BROKERS APPLICATION INPUT CONFIGURATION OUTPUT STATE_DIRECTORY. */
public final class Peer {
    private static final Duration CLOSE_WITHIN = Duration.ofSeconds(20);

    private Peer() {}

    public static void main(String[] arguments) {
        if (arguments.length != 6) {
            System.err.println(
                    "usage: Peer BROKERS APPLICATION INPUT CONFIGURATION OUTPUT STATE_DIRECTORY");
            System.exit(2);
        }
        Topology topology = topology(arguments[2], arguments[3], arguments[4]);
        KafkaStreams streams =
                new KafkaStreams(topology, settings(arguments[0], arguments[1], arguments[5]));
        streams.setUncaughtExceptionHandler(
                error -> {
                    error.printStackTrace();
                    // Not exit: its hook would wait for this very thread.
                    Runtime.getRuntime().halt(1);
                    return StreamThreadExceptionResponse.SHUTDOWN_CLIENT;
                });
        Runtime.getRuntime().addShutdownHook(new Thread(() -> streams.close(CLOSE_WITHIN)));
        streams.start();
    }

    private static Topology topology(String input, String configuration, String output) {
        Serde<byte[]> bytes = Serdes.ByteArray();
        Serde<String> text = Serdes.String();
        Serde<EventConfig> config = Json.of(EventConfig.class);
        Topology topology = new Topology();
        // A few dozen rows that every task reads for each record: in memory.
        topology.addGlobalStore(
                Stores.keyValueStoreBuilder(
                                Stores.inMemoryKeyValueStore(Decide.OFFERS), text, config)
                        .withLoggingDisabled(),
                "configuration",
                text.deserializer(),
                config.deserializer(),
                configuration,
                "load-offers",
                LoadOffers::new);
        topology.addSource(
                "postbacks", bytes.deserializer(), Json.of(Input.class).deserializer(), input);
        topology.addProcessor("decide", Decide::new, "postbacks");
        // RocksDB with a changelog, the default. Each key is written once, so a record cache in
        // front of it would save nothing.
        topology.addStateStore(
                Stores.keyValueStoreBuilder(
                        Stores.persistentKeyValueStore(Decide.SEEN), text, Serdes.Long()),
                "decide");
        topology.addSink(
                "decisions",
                output,
                text.serializer(),
                Json.of(Output.class).serializer(),
                "decide");
        return topology;
    }

    /** What Kafka's documentation recommends for throughput; what is not set is its default. */
    private static Properties settings(String brokers, String application, String directory) {
        Properties settings = new Properties();
        settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, brokers);
        settings.put(StreamsConfig.APPLICATION_ID_CONFIG, application);
        settings.put(StreamsConfig.STATE_DIR_CONFIG, directory);
        settings.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2);
        // A transaction lasts this long; also the default with exactly once.
        settings.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, 100);
        // A thread for each core, each with some of the partitions.
        settings.put(
                StreamsConfig.NUM_STREAM_THREADS_CONFIG,
                Math.max(1, Runtime.getRuntime().availableProcessors()));
        // Fewer rounds of a thread's loop, four times the default.
        settings.put(StreamsConfig.consumerPrefix(ConsumerConfig.MAX_POLL_RECORDS_CONFIG), 4_000);
        settings.put(
                StreamsConfig.consumerPrefix(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG), "earliest");
        // Larger batches, compressed: fewer requests to a broker that shares the cores. Streams'
        // own linger of 100 ms stays, so a batch is sent when it is full or the commit flushes it.
        settings.put(StreamsConfig.producerPrefix(ProducerConfig.BATCH_SIZE_CONFIG), 256 * 1024);
        settings.put(StreamsConfig.producerPrefix(ProducerConfig.COMPRESSION_TYPE_CONFIG), "lz4");
        // Nobody reads these metrics; the broker need not be sent them.
        settings.put(StreamsConfig.ENABLE_METRICS_PUSH_CONFIG, false);
        return settings;
    }
}
