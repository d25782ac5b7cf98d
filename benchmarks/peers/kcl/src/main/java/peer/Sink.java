package peer;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import com.github.benmanes.caffeine.cache.Cache;
import com.github.benmanes.caffeine.cache.Caffeine;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.UUID;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.locks.ReadWriteLock;
import java.util.concurrent.locks.ReentrantReadWriteLock;
import java.util.zip.GZIPOutputStream;
import software.amazon.awssdk.core.sync.RequestBody;
import software.amazon.awssdk.services.s3.S3Client;
import software.amazon.kinesis.exceptions.ShutdownException;
import software.amazon.kinesis.processor.RecordProcessorCheckpointer;

/**
 * Files by partition, over all shards: fewer objects than one set a shard. A flush puts them, then checkpoints what they
 * hold, so that nothing is lost; what was put after the last checkpoint comes twice after a crash.
 */
final class Sink {
    private static final JsonFactory JSON = new JsonFactory();
    private final Cache<String, Boolean> seen =
            Caffeine.newBuilder().expireAfterWrite(Duration.ofHours(1)).build();
    private final ReadWriteLock lock = new ReentrantReadWriteLock();
    private final ExecutorService putting = Executors.newFixedThreadPool(16);
    private final Set<String> tip = ConcurrentHashMap.newKeySet();
    private final S3Client store;
    private final String bucket;
    private final int level;
    private Map<String, Part> parts = new ConcurrentHashMap<>();
    private Map<String, Position> positions = new ConcurrentHashMap<>();

    private record Position(RecordProcessorCheckpointer checkpointer, String sequence, long sub) {}

    Sink(S3Client store, String bucket, int level) {
        this.store = store;
        this.bucket = bucket;
        this.level = level;
    }

    /** Before the records of a reply: no flush comes in between. */
    void begin() {
        lock.readLock().lock();
    }

    /** After them. */
    void end() {
        lock.readLock().unlock();
    }

    void read(String shard, RecordProcessorCheckpointer checkpointer, String sequence, long sub) {
        positions.put(shard, new Position(checkpointer, sequence, sub));
    }

    void atTip(String shard) {
        tip.add(shard);
    }

    void lost(String shard) {
        positions.remove(shard);
    }

    int atTip() {
        return tip.size();
    }

    void add(byte[] line) {
        try {
            String customer = null, event = null, type = null, id = null, time = null;
            try (JsonParser parser = JSON.createParser(line)) {
                parser.nextToken();
                while (parser.nextToken() == JsonToken.FIELD_NAME) {
                    String name = parser.currentName();
                    parser.nextToken();
                    switch (name) {
                        case "event" -> event = parser.getText();
                        case "type" -> type = parser.getText();
                        case "messageId" -> id = parser.getText();
                        case "timestamp" -> time = parser.getText();
                        case "context" -> customer = namespace(parser);
                        default -> parser.skipChildren();
                    }
                }
            }
            if (seen.asMap().putIfAbsent(id, Boolean.TRUE) != null) {
                return;
            }
            String kind = event == null ? type : event;
            String folder = "customer=" + customer + "/event_type=" + kind + "/date=" + time.substring(0, 10) + "/hour="
                    + time.substring(11, 13);
            parts.computeIfAbsent(folder, each -> new Part(level)).add(line);
        } catch (IOException problem) {
            throw new UncheckedIOException(problem);
        }
    }

    private static String namespace(JsonParser parser) throws IOException {
        String found = null;
        while (parser.nextToken() == JsonToken.FIELD_NAME) {
            boolean app = parser.currentName().equals("app");
            parser.nextToken();
            if (!app) {
                parser.skipChildren();
                continue;
            }
            while (parser.nextToken() == JsonToken.FIELD_NAME) {
                boolean wanted = parser.currentName().equals("namespace");
                parser.nextToken();
                if (wanted) {
                    found = parser.getText();
                } else {
                    parser.skipChildren();
                }
            }
        }
        return found;
    }

    void flush() throws Exception {
        Map<String, Part> full;
        Map<String, Position> read;
        lock.writeLock().lock();
        try {
            full = parts;
            read = positions;
            parts = new ConcurrentHashMap<>();
            positions = new ConcurrentHashMap<>();
        } finally {
            lock.writeLock().unlock();
        }
        List<Future<?>> puts = new ArrayList<>();
        full.forEach((folder, part) -> puts.add(putting.submit(() -> store.putObject(
                request -> request.bucket(bucket)
                        .key(folder + "/part-" + UUID.randomUUID() + ".json.gz")
                        .contentType("application/x-ndjson"),
                RequestBody.fromBytes(part.bytes())))));
        for (Future<?> put : puts) {
            put.get();
        }
        for (Position each : read.values()) {
            try {
                each.checkpointer.checkpoint(each.sequence, each.sub);
            } catch (ShutdownException lost) {
                // Whoever has the lease now reads again from the checkpoint before.
            }
        }
    }

    /** A file that grows. */
    private static final class Part {
        private final ByteArrayOutputStream body = new ByteArrayOutputStream();
        private final GZIPOutputStream gzip;

        Part(int level) {
            try {
                gzip = new GZIPOutputStream(body, 8192) {
                    {
                        def.setLevel(level);
                    }
                };
            } catch (IOException problem) {
                throw new UncheckedIOException(problem);
            }
        }

        synchronized void add(byte[] line) throws IOException {
            gzip.write(line);
            gzip.write('\n');
        }

        synchronized byte[] bytes() {
            try {
                gzip.close();
            } catch (IOException problem) {
                throw new UncheckedIOException(problem);
            }
            return body.toByteArray();
        }
    }
}
