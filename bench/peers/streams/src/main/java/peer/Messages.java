package peer;

import com.fasterxml.jackson.annotation.JsonIgnoreProperties;
import java.util.List;

/** What stands in the topics, in the JSON that gokart writes: see schemas/src of this repository. */
final class Messages {
    private Messages() {}

    /** A record of the topic of postbacks. */
    @JsonIgnoreProperties(ignoreUnknown = true)
    record Input(int v, Postback postback) {}

    record Postback(
            String postbackId,
            String tenant,
            String advertiser,
            long receivedAt,
            String[][] parameters,
            String[] flags) {
        /** The first value of a parameter, or null. */
        String parameter(String name) {
            for (String[] parameter : parameters) {
                if (parameter[0].equals(name)) {
                    return parameter[1];
                }
            }
            return null;
        }
    }

    /** What the configuration says of one event of one offer; amounts in millionths. */
    record EventConfig(
            String eventName,
            int sequence,
            long revenue,
            long payout,
            String currency,
            String shareId,
            String publisherId,
            long version) {}

    record Output(int v, Decision decision) {}

    record Decision(Outcome postback, List<Conversion> conversions) {}

    record Outcome(
            String postbackId,
            String tenant,
            String advertiserId,
            long receivedAt,
            String clickId,
            String eventId,
            String outcome,
            String conversionId,
            String offerId,
            String publisherId,
            String[][] parameters,
            String[] flags,
            boolean test,
            long configVersion) {}

    record Conversion(
            String conversionId,
            int revision,
            String clickId,
            long clickedAt,
            String tenant,
            String advertiserId,
            String offerId,
            String rootOfferId,
            String shareId,
            String publisherId,
            String eventId,
            String eventName,
            int sequence,
            String status,
            long receivedAt,
            long decidedAt,
            long revenue,
            long payout,
            String currency,
            long reward,
            long offerVersion,
            boolean test,
            String postbackId) {}
}
