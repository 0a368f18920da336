// Workers of the real Kinesis Client Library for Java behind a small HTTP server on loopback. Each behaves as an
// instance of Pulsar's Java connector does (a given worker id, checkpoints of records that are "published", an end
// without evictions), but publishes nowhere: what it read is kept as lines, which tests judge. Started by
// kcl-consumer.ts; prints {"url":…} when it serves, ends when its standard input is closed.
//
//   /start?worker=NAME&id=0&kinesis=URL&dynamo=URL&stream=S&table=T
//       [&fanOut=true]        enhanced fan-out over HTTP/2, as consumer T, in place of polling over HTTP/1.1
//       [&checkpointEvery=N]  after every N records; 0 = never (the default)
//       [&mark=TEXT]          checkpoints at the record with this text and counts nothing of its shard as published
//                             from there on, as a connector does whose broker acknowledges no more
//       [&holdEnds=true]      stores no shard's end before /release
//       [&maxLeases=N]        holds no more leases than these
//       [&cleanupMs=N]        how often finished rows are looked at (the KCL's defaults are one and five minutes)
//       [&roundMs=N]          how often leases are taken, shards taken a step further, and read (the KCL's 20, 1, 1.5 s)
//   /lines?worker=NAME&from=N from line N on, fields separated by tabs:
//       init SHARD SEQUENCE SUBSEQUENCE · record SHARD SEQUENCE SUBSEQUENCE KEY SHA-256
//       checkpoint SHARD SEQUENCE SUBSEQUENCE · refused SHARD WHY · end-held SHARD · end SHARD · lost SHARD ·
//       started · failed WHY · stopped
//   /checkpoint?worker=NAME   each shard at its last published record
//   /release?worker=NAME      shards' ends are stored from now on
//   /audit?worker=NAME        the KCL's election and its look for holes in the table, both now: a minute and two early
//   /stop?worker=NAME[&wait=false]   as the Java connector's close(): at once, no checkpoint, rows keep their owner
//   /rows?worker=NAME         the lease table as the KCL reads it, one row a line
//   /leaders?worker=NAME&ids=A,B   which of these worker ids the KCL's election, held now, makes the auditor

import com.sun.net.httpserver.HttpServer;
import java.io.OutputStream;
import java.io.PrintStream;
import java.lang.reflect.Constructor;
import java.lang.reflect.Field;
import java.lang.reflect.Method;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.URI;
import java.net.URLDecoder;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import software.amazon.awssdk.auth.credentials.AwsBasicCredentials;
import software.amazon.awssdk.auth.credentials.StaticCredentialsProvider;
import software.amazon.awssdk.http.Protocol;
import software.amazon.awssdk.http.nio.netty.NettyNioAsyncHttpClient;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.services.cloudwatch.CloudWatchAsyncClient;
import software.amazon.awssdk.services.dynamodb.DynamoDbAsyncClient;
import software.amazon.awssdk.services.kinesis.KinesisAsyncClient;
import software.amazon.kinesis.common.ConfigsBuilder;
import software.amazon.kinesis.common.InitialPositionInStream;
import software.amazon.kinesis.common.InitialPositionInStreamExtended;
import software.amazon.kinesis.common.LeaseCleanupConfig;
import software.amazon.kinesis.coordinator.LeaderDecider;
import software.amazon.kinesis.coordinator.Scheduler;
import software.amazon.kinesis.coordinator.WorkerStateChangeListener;
import software.amazon.kinesis.leases.Lease;
import software.amazon.kinesis.leases.LeaseRefresher;
import software.amazon.kinesis.lifecycle.events.InitializationInput;
import software.amazon.kinesis.lifecycle.events.LeaseLostInput;
import software.amazon.kinesis.lifecycle.events.ProcessRecordsInput;
import software.amazon.kinesis.lifecycle.events.ShardEndedInput;
import software.amazon.kinesis.lifecycle.events.ShutdownRequestedInput;
import software.amazon.kinesis.metrics.MetricsLevel;
import software.amazon.kinesis.processor.RecordProcessorCheckpointer;
import software.amazon.kinesis.processor.ShardRecordProcessor;
import software.amazon.kinesis.processor.SingleStreamTracker;
import software.amazon.kinesis.retrieval.KinesisClientRecord;
import software.amazon.kinesis.retrieval.RetrievalConfig;
import software.amazon.kinesis.retrieval.kpl.ExtendedSequenceNumber;
import software.amazon.kinesis.retrieval.polling.PollingConfig;

public class KclConsumer {
  static final Map<String, Worker> WORKERS = new ConcurrentHashMap<>();

  interface Action {
    String run(Map<String, String> query) throws Exception;
  }

  public static void main(String[] args) throws Exception {
    PrintStream stdout = System.out;
    System.setOut(System.err);
    HttpServer server = HttpServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0), 0);
    server.setExecutor(Executors.newCachedThreadPool());
    serve(server, "/start", query -> {
      if (WORKERS.containsKey(query.get("worker"))) throw new IllegalStateException("a worker of this name exists");
      WORKERS.put(query.get("worker"), new Worker(query));
      return "";
    });
    serve(server, "/lines", query -> worker(query).linesFrom(Integer.parseInt(query.get("from"))));
    serve(server, "/checkpoint", query -> worker(query).checkpoint());
    serve(server, "/release", query -> worker(query).release());
    serve(server, "/audit", query -> worker(query).audit());
    serve(server, "/stop", query -> worker(query).stop(!"false".equals(query.get("wait"))));
    serve(server, "/rows", query -> worker(query).rows());
    serve(server, "/leaders", query -> worker(query).leaders(query.get("ids").split(",")));
    server.start();
    stdout.println("{\"url\":\"http://127.0.0.1:" + server.getAddress().getPort() + "\"}");
    stdout.flush();
    while (System.in.read() >= 0) {}
    Runtime.getRuntime().halt(0);
  }

  static Worker worker(Map<String, String> query) {
    Worker worker = WORKERS.get(query.get("worker"));
    if (worker == null) throw new IllegalArgumentException("no worker of this name");
    return worker;
  }

  static void serve(HttpServer server, String path, Action action) {
    server.createContext(path, exchange -> {
      Map<String, String> query = new HashMap<>();
      for (String pair : exchange.getRequestURI().getRawQuery().split("&")) {
        int at = pair.indexOf('=');
        query.put(pair.substring(0, at), URLDecoder.decode(pair.substring(at + 1), StandardCharsets.UTF_8));
      }
      int status = 200;
      String answer;
      try {
        answer = action.run(query);
      } catch (Exception error) {
        status = 500;
        answer = error.toString();
      }
      byte[] bytes = answer.getBytes(StandardCharsets.UTF_8);
      exchange.sendResponseHeaders(status, bytes.length == 0 ? -1 : bytes.length);
      try (OutputStream out = exchange.getResponseBody()) {
        out.write(bytes);
      } finally {
        exchange.close();
      }
    });
  }

  /** One Java connector. */
  static final class Worker implements WorkerStateChangeListener {
    final List<String> lines = new ArrayList<>();
    final Map<String, Processor> processors = new ConcurrentHashMap<>();
    final int checkpointEvery;
    final String markHash;
    final Scheduler scheduler;
    final Thread thread;
    volatile boolean endsHeld;

    Worker(Map<String, String> query) throws Exception {
      checkpointEvery = Integer.parseInt(query.getOrDefault("checkpointEvery", "0"));
      markHash = query.containsKey("mark")
          ? hash(ByteBuffer.wrap(query.get("mark").getBytes(StandardCharsets.UTF_8)))
          : null;
      endsHeld = Boolean.parseBoolean(query.get("holdEnds"));
      StaticCredentialsProvider keys = StaticCredentialsProvider.create(AwsBasicCredentials.create("test", "test"));
      boolean fanOut = Boolean.parseBoolean(query.get("fanOut"));
      KinesisAsyncClient kinesis = KinesisAsyncClient.builder()
          .endpointOverride(URI.create(query.get("kinesis"))).region(Region.US_EAST_1).credentialsProvider(keys)
          .httpClientBuilder(NettyNioAsyncHttpClient.builder().maxConcurrency(200)
              .protocol(fanOut ? Protocol.HTTP2 : Protocol.HTTP1_1))
          .build();
      DynamoDbAsyncClient dynamo = DynamoDbAsyncClient.builder()
          .endpointOverride(URI.create(query.get("dynamo"))).region(Region.US_EAST_1).credentialsProvider(keys)
          .build();
      CloudWatchAsyncClient cloudwatch = CloudWatchAsyncClient.builder()
          .region(Region.US_EAST_1).credentialsProvider(keys).build(); // never asked: metrics are off
      InitialPositionInStreamExtended position = InitialPositionInStreamExtended.newInitialPosition(
          InitialPositionInStream.TRIM_HORIZON);
      ConfigsBuilder configs = new ConfigsBuilder(new SingleStreamTracker(query.get("stream"), position), query.get("table"),
          kinesis, dynamo, cloudwatch, query.get("id"), () -> new Processor(this));
      // What waits for minutes waits for seconds here. Failover (10 s) and the taker's round (20 s) stay the KCL's.
      var leases = configs.leaseManagementConfig().shardSyncIntervalMillis(100);
      if (query.containsKey("maxLeases")) {
        leases = leases.maxLeasesForWorker(Integer.parseInt(query.get("maxLeases")));
      }
      if (query.containsKey("cleanupMs")) {
        long every = Long.parseLong(query.get("cleanupMs"));
        Field cleanup = field(leases, "leaseCleanupConfig"); // 2.6.0 has no setter for it
        cleanup.set(leases, LeaseCleanupConfig.builder().leaseCleanupIntervalMillis(every)
            .completedLeaseCleanupIntervalMillis(every).garbageLeaseCleanupIntervalMillis(6 * every).build());
      }
      RetrievalConfig retrieval = configs.retrievalConfig();
      var polling = new PollingConfig(query.get("stream"), kinesis);
      var coordination = configs.coordinatorConfig().parentShardPollIntervalMillis(1000).workerStateChangeListener(this);
      if (query.containsKey("roundMs")) {
        long every = Long.parseLong(query.get("roundMs"));
        polling.idleTimeBetweenReadsInMillis(every);
        coordination.parentShardPollIntervalMillis(every).shardConsumerDispatchPollIntervalMillis(every);
      }
      if (!fanOut) retrieval.retrievalSpecificConfig(polling);
      scheduler = new Scheduler(configs.checkpointConfig(), coordination, leases, configs.lifecycleConfig(),
          configs.metricsConfig().metricsLevel(MetricsLevel.NONE), configs.processorConfig(), retrieval);
      if (query.containsKey("roundMs")) { // of the taker it is made from the failover time, which is to stay
        Object coordinator = field(scheduler, "leaseCoordinator").get(scheduler);
        field(coordinator, "takerIntervalMillis").set(coordinator, Long.parseLong(query.get("roundMs")));
      }
      thread = new Thread(scheduler, "worker " + query.get("worker"));
      thread.setDaemon(true);
      thread.start();
    }

    @Override
    public void onWorkerStateChange(WorkerState state) {
      if (state == WorkerState.STARTED) line("started");
    }

    @Override
    public void onAllInitializationAttemptsFailed(Throwable error) {
      line("failed", oneLine(error));
    }

    void line(Object... fields) {
      StringBuilder text = new StringBuilder();
      for (Object field : fields) text.append(text.length() == 0 ? "" : "\t").append(field);
      synchronized (lines) {
        lines.add(text.toString());
      }
    }

    String linesFrom(int from) {
      synchronized (lines) {
        return String.join("\n", lines.subList(Math.min(from, lines.size()), lines.size()));
      }
    }

    String checkpoint() {
      for (Processor processor : processors.values()) processor.checkpointLast();
      return "";
    }

    String release() {
      endsHeld = false;
      return "";
    }

    /** A leader's look for holes; who is not elected does nothing. */
    String audit() throws Exception {
      run(field(scheduler, "leaderDecider").get(scheduler), "electLeaders");
      run(field(scheduler, "leaderElectedPeriodicShardSyncManager").get(scheduler), "runShardSync");
      return "";
    }

    String stop(boolean wait) throws InterruptedException {
      scheduler.shutdown();
      if (!wait) return "";
      thread.join(30_000);
      line("stopped");
      return "";
    }

    String rows() throws Exception {
      StringBuilder text = new StringBuilder();
      for (Lease lease : scheduler.leaseRefresher().listLeases()) {
        ExtendedSequenceNumber checkpoint = lease.checkpoint();
        var range = lease.hashKeyRangeForLease();
        text.append(text.length() == 0 ? "" : "\n").append(String.join("\t", lease.leaseKey(),
            String.valueOf(lease.leaseOwner()), lease.leaseCounter().toString(), checkpoint.sequenceNumber(),
            String.valueOf(checkpoint.subSequenceNumber()), lease.ownerSwitchesSinceCheckpoint().toString(),
            String.join(",", new TreeSet<>(lease.parentShardIds())),
            String.join(",", new TreeSet<>(lease.childShardIds())),
            range == null ? "" : range.serializedStartingHashKey() + "-" + range.serializedEndingHashKey()));
      }
      return text.toString();
    }

    /** By a decider of its own, because a worker's answers with what it elected up to five minutes ago. */
    String leaders(String[] ids) throws Exception {
      Constructor<?> constructor = Class
          .forName("software.amazon.kinesis.coordinator.DeterministicShuffleShardSyncLeaderDecider")
          .getDeclaredConstructor(LeaseRefresher.class, ScheduledExecutorService.class, int.class);
      constructor.setAccessible(true);
      LeaderDecider decider = (LeaderDecider) constructor.newInstance(scheduler.leaseRefresher(),
          Executors.newSingleThreadScheduledExecutor(), 1);
      try {
        List<String> leaders = new ArrayList<>();
        for (String id : ids) if (decider.isLeader(id)) leaders.add(id);
        return String.join(",", leaders);
      } finally {
        decider.shutdown();
      }
    }
  }

  /** What the Java connector does with the records of a shard. */
  static final class Processor implements ShardRecordProcessor {
    final Worker worker;
    String shard = "";
    KinesisClientRecord last;
    RecordProcessorCheckpointer checkpointer;
    int records;
    boolean blocked;
    boolean toldOfHeldEnd;

    Processor(Worker worker) {
      this.worker = worker;
    }

    @Override
    public void initialize(InitializationInput input) {
      shard = input.shardId();
      ExtendedSequenceNumber from = input.extendedSequenceNumber();
      worker.processors.put(shard, this);
      worker.line("init", shard, from.sequenceNumber(), from.subSequenceNumber());
    }

    @Override
    public synchronized void processRecords(ProcessRecordsInput input) {
      checkpointer = input.checkpointer();
      for (KinesisClientRecord record : input.records()) {
        if (blocked) return;
        String hash = hash(record.data());
        worker.line("record", shard, record.sequenceNumber(), record.subSequenceNumber(), record.partitionKey(), hash);
        last = record;
        records++;
        blocked = hash.equals(worker.markHash);
        if (blocked || (worker.checkpointEvery > 0 && records % worker.checkpointEvery == 0)) checkpointLast();
      }
    }

    synchronized void checkpointLast() {
      if (last == null) return;
      try {
        checkpointer.checkpoint(last.sequenceNumber(), last.subSequenceNumber());
        worker.line("checkpoint", shard, last.sequenceNumber(), last.subSequenceNumber());
      } catch (Exception error) {
        worker.line("refused", shard, oneLine(error));
      }
    }

    @Override
    public void leaseLost(LeaseLostInput input) {
      worker.processors.remove(shard, this);
      worker.line("lost", shard);
    }

    /** Without a checkpoint the KCL calls it again, as it does with the connector while records are in flight. */
    @Override
    public void shardEnded(ShardEndedInput input) {
      if (worker.endsHeld || blocked) {
        if (!toldOfHeldEnd) worker.line("end-held", shard);
        toldOfHeldEnd = true;
        return;
      }
      try {
        input.checkpointer().checkpoint();
        worker.line("end", shard);
      } catch (Exception error) {
        worker.line("refused", shard, oneLine(error));
      }
    }

    @Override
    public void shutdownRequested(ShutdownRequestedInput input) {} // the connector's close() never gets here
  }

  static Field field(Object of, String name) throws NoSuchFieldException {
    Field field = of.getClass().getDeclaredField(name);
    field.setAccessible(true);
    return field;
  }

  static void run(Object of, String name) throws ReflectiveOperationException {
    Method method = of.getClass().getDeclaredMethod(name);
    method.setAccessible(true);
    method.invoke(of);
  }

  static String oneLine(Throwable error) {
    return error.toString().replaceAll("\\s+", " ");
  }

  static String hash(ByteBuffer data) {
    try {
      MessageDigest digest = MessageDigest.getInstance("SHA-256");
      digest.update(data.duplicate());
      return HexFormat.of().formatHex(digest.digest());
    } catch (java.security.NoSuchAlgorithmException error) {
      throw new IllegalStateException(error);
    }
  }
}
