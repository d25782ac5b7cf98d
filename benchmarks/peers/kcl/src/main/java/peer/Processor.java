package peer;

import java.nio.ByteBuffer;
import software.amazon.kinesis.lifecycle.events.InitializationInput;
import software.amazon.kinesis.lifecycle.events.LeaseLostInput;
import software.amazon.kinesis.lifecycle.events.ProcessRecordsInput;
import software.amazon.kinesis.lifecycle.events.ShardEndedInput;
import software.amazon.kinesis.lifecycle.events.ShutdownRequestedInput;
import software.amazon.kinesis.processor.ShardRecordProcessor;
import software.amazon.kinesis.retrieval.KinesisClientRecord;

/** One shard: hands its events to the sink. */
final class Processor implements ShardRecordProcessor {
    private final Sink sink;
    private String shard;

    Processor(Sink sink) {
        this.sink = sink;
    }

    @Override
    public void initialize(InitializationInput input) {
        shard = input.shardId();
    }

    @Override
    public void processRecords(ProcessRecordsInput input) {
        KinesisClientRecord last = null;
        sink.begin();
        try {
            for (KinesisClientRecord each : input.records()) {
                ByteBuffer data = each.data();
                byte[] line = new byte[data.remaining()];
                data.duplicate().get(line);
                sink.add(line);
                last = each;
            }
            if (last != null) {
                sink.read(shard, input.checkpointer(), last.sequenceNumber(), last.subSequenceNumber());
            }
        } finally {
            sink.end();
        }
        if (input.records().isEmpty() && input.millisBehindLatest() == 0) {
            sink.atTip(shard);
        }
    }

    @Override
    public void leaseLost(LeaseLostInput input) {
        sink.lost(shard);
    }

    @Override
    public void shardEnded(ShardEndedInput input) {}

    @Override
    public void shutdownRequested(ShutdownRequestedInput input) {}
}
