package peer;

import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;
import java.util.List;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueStore;
import peer.Messages.Conversion;
import peer.Messages.Decision;
import peer.Messages.EventConfig;
import peer.Messages.Input;
import peer.Messages.Outcome;
import peer.Messages.Output;
import peer.Messages.Postback;

/** Joins a postback with its offer's event, and lets each event of a click through once. */
final class Decide implements Processor<byte[], Input, String, Output> {
    static final String OFFERS = "offers";
    static final String SEEN = "seen";
    /** Characters of gokart's conversion ids behind the offer. */
    private static final int CONVERSION_CHARS = 26;

    private ProcessorContext<String, Output> context;
    /** From offer|event. */
    private KeyValueStore<String, EventConfig> offers;
    /** From click|event to when it came. */
    private KeyValueStore<String, Long> seen;
    private MessageDigest digest;

    @Override
    public void init(ProcessorContext<String, Output> context) {
        this.context = context;
        offers = context.getStateStore(OFFERS);
        seen = context.getStateStore(SEEN);
        try {
            digest = MessageDigest.getInstance("SHA-256");
        } catch (NoSuchAlgorithmException error) {
            throw new IllegalStateException(error);
        }
    }

    @Override
    public void process(Record<byte[], Input> record) {
        Postback postback = record.value().postback();
        if (postback == null) {
            return; // Of another kind: nothing of this job.
        }
        String offer = postback.parameter("offer_id");
        String event = postback.parameter("cnv_event_id");
        String click = postback.parameter("gk_click_id");
        EventConfig config = offers.get(offer + "|" + event);
        if (config == null) {
            return; // The count of decisions shows it.
        }
        String identity = click + "|" + event;
        if (seen.putIfAbsent(identity, postback.receivedAt()) != null) {
            return;
        }
        Output output = new Output(1, decide(postback, config, offer, event, click, identity));
        // Keyed by offer: the decisions of an offer stay in order, as its postbacks are.
        context.forward(new Record<>(offer, output, record.timestamp()));
    }

    private Decision decide(
            Postback postback,
            EventConfig config,
            String offer,
            String event,
            String click,
            String identity) {
        byte[] hash = digest.digest(identity.getBytes(StandardCharsets.UTF_8));
        String hex = HexFormat.of().formatHex(hash, 0, CONVERSION_CHARS / 2);
        String conversion = offer + "." + hex;
        Outcome outcome =
                new Outcome(
                        postback.postbackId(),
                        postback.tenant(),
                        postback.advertiser(),
                        postback.receivedAt(),
                        click,
                        event,
                        "accepted",
                        conversion,
                        offer,
                        config.publisherId(),
                        postback.parameters(),
                        postback.flags(),
                        false,
                        config.version());
        Conversion made =
                new Conversion(
                        conversion,
                        1,
                        click,
                        postback.receivedAt(),
                        postback.tenant(),
                        postback.advertiser(),
                        offer,
                        offer,
                        config.shareId(),
                        config.publisherId(),
                        event,
                        config.eventName(),
                        config.sequence(),
                        "Success",
                        postback.receivedAt(),
                        context.currentSystemTimeMs(),
                        config.revenue(),
                        config.payout(),
                        config.currency(),
                        0,
                        config.version(),
                        false,
                        postback.postbackId());
        return new Decision(outcome, List.of(made));
    }
}
