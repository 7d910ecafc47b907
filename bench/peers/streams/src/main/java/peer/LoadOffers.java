package peer;

import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueStore;
import peer.Messages.EventConfig;

/** Keeps the global store of the configuration as its topic has it. */
final class LoadOffers implements Processor<String, EventConfig, Void, Void> {
    private KeyValueStore<String, EventConfig> offers;

    @Override
    public void init(ProcessorContext<Void, Void> context) {
        offers = context.getStateStore(Decide.OFFERS);
    }

    @Override
    public void process(Record<String, EventConfig> record) {
        offers.put(record.key(), record.value());
    }
}
