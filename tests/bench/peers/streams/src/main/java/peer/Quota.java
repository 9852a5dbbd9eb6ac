package peer;

import com.fasterxml.jackson.annotation.JsonInclude;
import com.fasterxml.jackson.core.type.TypeReference;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.ObjectReader;
import com.fasterxml.jackson.databind.ObjectWriter;
import java.io.File;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.Arrays;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.common.serialization.Deserializer;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.serialization.Serializer;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.StoreBuilder;
import org.apache.kafka.streams.state.Stores;

/**
 * The job on Kafka Streams: Processor API, exactly once, a commit every 5 s, RocksDB with a changelog and a cache.
 * With BATCHES set the records are batches, otherwise single deltas.
 */
public final class Quota {
    static final int SLICES = 6;
    static final long SLICE_MS = 600_000;
    static final long STAY_MS = 600_000;
    static final ObjectMapper JSON =
            new ObjectMapper().configure(DeserializationFeature.FAIL_ON_UNKNOWN_PROPERTIES, false);
    static final ObjectWriter CHANGE = JSON.writerFor(Change.class);

    /** One that is something else has a type. */
    public static final class Delta {
        public String type;
        public String service;
        public long start;
        public long end;
        public long in;
        public long out;
    }

    /** One that is something else has another type. */
    public static final class Batch {
        public String type;
        public long start;
        public long end;
        public String[] services;
        public long[] in;
        public long[] out;
    }

    @JsonInclude
    public record Change(String service, long at, String profile, long usage) {}

    /** What is kept of a service. */
    static final class State {
        final long[] ring = new long[SLICES];
        long newest;
        long through;
        long slowUntil;
    }

    static final class StateSerde implements Serde<State> {
        @Override
        public Serializer<State> serializer() {
            return (topic, state) -> {
                ByteBuffer bytes = ByteBuffer.allocate(8 * (SLICES + 3));
                for (long each : state.ring) {
                    bytes.putLong(each);
                }
                return bytes.putLong(state.newest).putLong(state.through).putLong(state.slowUntil).array();
            };
        }

        @Override
        public Deserializer<State> deserializer() {
            return (topic, data) -> {
                if (data == null) {
                    return null;
                }
                ByteBuffer bytes = ByteBuffer.wrap(data);
                State state = new State();
                for (int slice = 0; slice < SLICES; slice++) {
                    state.ring[slice] = bytes.getLong();
                }
                state.newest = bytes.getLong();
                state.through = bytes.getLong();
                state.slowUntil = bytes.getLong();
                return state;
            };
        }
    }

    static <T> Deserializer<T> reading(Class<T> type) {
        ObjectReader reader = JSON.readerFor(type);
        return (topic, data) -> {
            try {
                return reader.readValue(data);
            } catch (IOException e) {
                throw new UncheckedIOException(e);
            }
        };
    }

    static byte[] written(String topic, Change change) {
        try {
            return CHANGE.writeValueAsBytes(change);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** Counts whatever it is given: T is Delta or Batch. */
    abstract static class Counting<T> implements Processor<String, T, String, Change> {
        private final Map<String, Long> quotas;
        final Marks marks;
        private ProcessorContext<String, Change> context;
        private KeyValueStore<String, State> store;

        Counting(Map<String, Long> quotas, Marks marks) {
            this.quotas = quotas;
            this.marks = marks;
        }

        @Override
        public void init(ProcessorContext<String, Change> context) {
            this.context = context;
            this.store = context.getStateStore("quota");
        }

        void count(String service, long end, long bytes, long timestamp) {
            State state = store.get(service);
            if (state == null) {
                state = new State();
            }
            if (end <= state.through) {
                return;
            }
            add(state, end, bytes);
            long usage = 0;
            for (long each : state.ring) {
                usage += each;
            }
            boolean slow = state.slowUntil != 0;
            if (slow ? end >= state.slowUntil : usage > quotas.get(service)) {
                Arrays.fill(state.ring, 0);
                long at = slow ? state.slowUntil : end;
                state.slowUntil = slow ? 0 : end + STAY_MS;
                Change change = new Change(service, at, slow ? "full" : "slow", usage);
                context.forward(new Record<>(service, change, timestamp));
            }
            store.put(service, state);
        }

        private static void add(State state, long end, long bytes) {
            long number = (end - 1) / SLICE_MS;
            if (number > state.newest) {
                long slid = Math.min(number - state.newest, SLICES);
                for (long back = 0; back < slid; back++) {
                    state.ring[(int) ((number - back) % SLICES)] = 0;
                }
                state.newest = number;
            }
            state.ring[(int) (number % SLICES)] += bytes;
            state.through = end;
        }
    }

    static final class Singles extends Counting<Delta> {
        Singles(Map<String, Long> quotas, Marks marks) {
            super(quotas, marks);
        }

        @Override
        public void process(Record<String, Delta> record) {
            Delta delta = record.value();
            if (delta.type == null) {
                count(delta.service, delta.end, delta.in + delta.out, record.timestamp());
                marks.hit(1);
            }
        }
    }

    static final class Batches extends Counting<Batch> {
        Batches(Map<String, Long> quotas, Marks marks) {
            super(quotas, marks);
        }

        @Override
        public void process(Record<String, Batch> record) {
            Batch batch = record.value();
            if ("batch".equals(batch.type)) {
                for (int place = 0; place < batch.services.length; place++) {
                    long bytes = batch.in[place] + batch.out[place];
                    count(batch.services[place], batch.end, bytes, record.timestamp());
                }
                marks.hit(batch.services.length);
            }
        }
    }

    static Topology topology(boolean batches, Map<String, Long> quotas, Marks marks) {
        StoreBuilder<KeyValueStore<String, State>> store =
                Stores.keyValueStoreBuilder(
                                Stores.persistentKeyValueStore("quota"), Serdes.String(), new StateSerde())
                        .withCachingEnabled();
        Topology topology = new Topology();
        Deserializer<String> keys = Serdes.String().deserializer();
        String from = System.getenv("IN_TOPIC");
        if (batches) {
            topology.addSource("deltas", keys, reading(Batch.class), from);
            topology.addProcessor("quota", () -> new Batches(quotas, marks), "deltas");
        } else {
            topology.addSource("deltas", keys, reading(Delta.class), from);
            topology.addProcessor("quota", () -> new Singles(quotas, marks), "deltas");
        }
        topology.addStateStore(store, "quota");
        String to = System.getenv("OUT_TOPIC");
        topology.addSink("changes", to, Serdes.String().serializer(), Quota::written, "quota");
        return topology;
    }

    public static void main(String[] arguments) throws Exception {
        Map<String, Long> quotas = JSON.readValue(new File(System.getenv("QUOTAS")), new TypeReference<>() {});
        Properties settings = new Properties();
        settings.put(StreamsConfig.APPLICATION_ID_CONFIG, System.getenv("APP_ID"));
        settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, System.getenv("BROKER"));
        settings.put(StreamsConfig.STATE_DIR_CONFIG, System.getenv("STATE_DIR"));
        settings.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2);
        settings.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, 5000);
        settings.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, 1);
        settings.put(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG, "earliest");
        boolean batches = System.getenv("BATCHES") != null;
        KafkaStreams streams = new KafkaStreams(topology(batches, quotas, new Marks()), settings);
        CountDownLatch done = new CountDownLatch(1);
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            streams.close(Duration.ofSeconds(10));
            done.countDown();
        }));
        streams.start();
        done.await();
    }
}
