package peer;

import java.net.URI;
import java.util.HashMap;
import java.util.Map;
import java.util.UUID;
import software.amazon.awssdk.http.Protocol;
import software.amazon.awssdk.http.nio.netty.NettyNioAsyncHttpClient;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.services.cloudwatch.CloudWatchAsyncClient;
import software.amazon.awssdk.services.dynamodb.DynamoDbAsyncClient;
import software.amazon.awssdk.services.kinesis.KinesisAsyncClient;
import software.amazon.awssdk.services.s3.S3Client;
import software.amazon.kinesis.common.ConfigsBuilder;
import software.amazon.kinesis.common.InitialPositionInStream;
import software.amazon.kinesis.common.InitialPositionInStreamExtended;
import software.amazon.kinesis.coordinator.Scheduler;
import software.amazon.kinesis.metrics.NullMetricsFactory;
import software.amazon.kinesis.processor.SingleStreamTracker;
import software.amazon.kinesis.retrieval.polling.PollingConfig;

/** Reads a stream to its tip with the Kinesis Client Library, and writes gzip files by customer, event type and hour. */
public final class Main {
    private Main() {}

    public static void main(String[] arguments) {
        try {
            run(arguments);
            System.exit(0);
        } catch (Throwable problem) {
            problem.printStackTrace();
            System.exit(1); // other threads would keep the process
        }
    }

    private static void run(String[] arguments) throws Exception {
        Map<String, String> given = new HashMap<>();
        for (String each : arguments) {
            String[] pair = each.split("=", 2);
            given.put(pair[0], pair[1]);
        }
        Region region = Region.US_EAST_1;
        NettyNioAsyncHttpClient.Builder http =
                NettyNioAsyncHttpClient.builder().protocol(Protocol.HTTP1_1).maxConcurrency(64);
        KinesisAsyncClient kinesis = KinesisAsyncClient.builder()
                .region(region)
                .endpointOverride(URI.create(given.get("kinesis")))
                .httpClient(http.build())
                .build();
        DynamoDbAsyncClient leases = DynamoDbAsyncClient.builder()
                .region(region)
                .endpointOverride(URI.create(given.get("leases")))
                .httpClient(http.build())
                .build();
        CloudWatchAsyncClient unused = CloudWatchAsyncClient.builder().region(region).build();
        S3Client store = S3Client.builder()
                .region(region)
                .endpointOverride(URI.create(given.get("store")))
                .forcePathStyle(true)
                .build();
        Sink sink = new Sink(store, given.get("bucket"), Integer.parseInt(given.get("level")));
        String stream = given.get("stream");
        int shards = Integer.parseInt(given.get("shards"));
        SingleStreamTracker tracker = new SingleStreamTracker(
                stream, InitialPositionInStreamExtended.newInitialPosition(InitialPositionInStream.TRIM_HORIZON));
        ConfigsBuilder configs = new ConfigsBuilder(
                tracker, given.get("application"), kinesis, leases, unused, UUID.randomUUID().toString(),
                () -> new Processor(sink));
        Scheduler scheduler = new Scheduler(
                configs.checkpointConfig(),
                configs.coordinatorConfig().shardConsumerDispatchPollIntervalMillis(100).parentShardPollIntervalMillis(500),
                configs.leaseManagementConfig()
                        .failoverTimeMillis(Long.parseLong(given.get("failover")) * 1000)
                        .shardSyncIntervalMillis(1_000)
                        .leasesRecoveryAuditorExecutionFrequencyMillis(5_000)
                        .leasesRecoveryAuditorInconsistencyConfidenceThreshold(1)
                        .maxLeasesForWorker(shards)
                        .maxLeasesToStealAtOneTime(shards),
                configs.lifecycleConfig(),
                configs.metricsConfig().metricsFactory(new NullMetricsFactory()),
                configs.processorConfig().callProcessRecordsEvenForEmptyRecordList(true),
                configs.retrievalConfig()
                        .retrievalSpecificConfig(new PollingConfig(stream, kinesis)
                                .maxRecords(10_000)
                                .idleTimeBetweenReadsInMillis(250)));
        Thread running = new Thread(scheduler, "scheduler");
        running.setDaemon(true);
        running.start();
        long every = Long.parseLong(given.get("flush")) * 1000, last = System.currentTimeMillis();
        while (sink.atTip() < shards) {
            Thread.sleep(100);
            if (System.currentTimeMillis() - last >= every) {
                sink.flush();
                last = System.currentTimeMillis();
            }
        }
        sink.flush();
    }
}
