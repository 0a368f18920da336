// The judge of what is in a topic: the official Java client (out of the broker's jars) behind a small HTTP server
// on loopback. Started by topic-reader.ts; prints {"url":…} when it serves, ends when its standard input is closed.
//
//   GET  /read?topic=…     every message, one JSON object a line
//   GET  /summary?topic=…  the same, one JSON array a line: [partition, key, sequenceId, Kinesis sequence number,
//                          subsequence number, payload length, SHA-256 of the payload]
//   GET  /share?topic=…    what each of `consumers` consumers (2) of a new Key_Shared subscription gets, from their start
//                          on: messages as in /read, with the consumer's number
//   POST /send?topic=…     publishes the lines of the body (as /read gives them), answers their message ids
//
// /read and /summary start at the earliest message and wait until there were `count` messages (default 0), then go
// on to the topic's present end; `timeoutMs` of silence ends them sooner. Lines of one partition are in its order.
// The last line is {"end":true} or {"error":…}. Always given: serviceUrl=pulsar://…; token=… where needed.

import com.fasterxml.jackson.core.JsonGenerator;
import com.fasterxml.jackson.core.util.MinimalPrettyPrinter;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.BufferedOutputStream;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.URLDecoder;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.util.ArrayList;
import java.util.Base64;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.pulsar.client.api.AuthenticationFactory;
import org.apache.pulsar.client.api.ClientBuilder;
import org.apache.pulsar.client.api.CompressionType;
import org.apache.pulsar.client.api.Consumer;
import org.apache.pulsar.client.api.HashingScheme;
import org.apache.pulsar.client.api.Message;
import org.apache.pulsar.client.api.MessageId;
import org.apache.pulsar.client.api.Producer;
import org.apache.pulsar.client.api.ProducerBuilder;
import org.apache.pulsar.client.api.PulsarClient;
import org.apache.pulsar.client.api.Reader;
import org.apache.pulsar.client.api.SubscriptionType;
import org.apache.pulsar.client.api.TypedMessageBuilder;
import org.apache.pulsar.common.naming.TopicName;

public class TopicReader {
  static final ObjectMapper MAPPER = new ObjectMapper();

  interface Action {
    void run(Map<String, String> query, HttpExchange exchange, JsonGenerator out) throws Exception;
  }

  public static void main(String[] args) throws Exception {
    PrintStream stdout = System.out;
    System.setOut(System.err); // the client's log lines must not come before ours
    HttpServer server = HttpServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0), 0);
    server.setExecutor(Executors.newCachedThreadPool());
    serve(server, "/read", (query, exchange, out) -> read(query, out, TopicReader::writeMessage));
    serve(server, "/summary", (query, exchange, out) -> read(query, out, TopicReader::writeSummary));
    serve(server, "/share", TopicReader::share);
    serve(server, "/send", TopicReader::send);
    server.start();
    stdout.println("{\"url\":\"http://127.0.0.1:" + server.getAddress().getPort() + "\"}");
    stdout.flush();
    while (System.in.read() >= 0) {}
    Runtime.getRuntime().halt(0);
  }

  static void serve(HttpServer server, String path, Action action) {
    server.createContext(path, exchange -> {
      Map<String, String> query = new HashMap<>();
      for (String pair : exchange.getRequestURI().getRawQuery().split("&")) {
        int at = pair.indexOf('=');
        query.put(pair.substring(0, at), URLDecoder.decode(pair.substring(at + 1), StandardCharsets.UTF_8));
      }
      exchange.sendResponseHeaders(200, 0);
      try (JsonGenerator out = MAPPER.getFactory()
          .createGenerator(new BufferedOutputStream(exchange.getResponseBody(), 1 << 16))) {
        out.setPrettyPrinter(new MinimalPrettyPrinter("\n"));
        try {
          action.run(query, exchange, out);
          synchronized (out) {
            out.writeStartObject();
            out.writeBooleanField("end", true);
            out.writeEndObject();
          }
        } catch (Exception error) {
          synchronized (out) {
            out.writeStartObject();
            out.writeStringField("error", error.toString());
            out.writeEndObject();
          }
        }
        out.writeRaw('\n');
      } finally {
        exchange.close();
      }
    });
  }

  /** Clients stay open: closing one takes two seconds. The least recently used go. */
  static final Map<String, PulsarClient> CLIENTS = new LinkedHashMap<>(16, 0.75f, true) {
    @Override
    protected boolean removeEldestEntry(Map.Entry<String, PulsarClient> eldest) {
      if (size() <= 16) return false;
      eldest.getValue().closeAsync();
      return true;
    }
  };

  static PulsarClient connect(Map<String, String> query) throws Exception {
    String token = query.getOrDefault("token", "");
    String key = query.get("serviceUrl") + " " + token;
    synchronized (CLIENTS) {
      PulsarClient client = CLIENTS.get(key);
      if (client != null) return client;
      ClientBuilder builder = PulsarClient.builder().serviceUrl(query.get("serviceUrl"));
      if (!token.isEmpty()) builder.authentication(AuthenticationFactory.token(token));
      client = builder.build();
      CLIENTS.put(key, client);
      return client;
    }
  }

  interface Writer {
    void write(JsonGenerator out, Message<byte[]> message, int partition, String topic) throws Exception;
  }

  static void read(Map<String, String> query, JsonGenerator out, Writer writer) throws Exception {
    long count = Long.parseLong(query.getOrDefault("count", "0"));
    long timeoutMs = Long.parseLong(query.getOrDefault("timeoutMs", "10000"));
    int queueSize = Integer.parseInt(query.getOrDefault("queueSize", "2000"));
    AtomicLong seen = new AtomicLong();
    AtomicLong lastAt = new AtomicLong(System.nanoTime());
    PulsarClient client = connect(query);
    List<String> topics = client.getPartitionsForTopic(TopicName.get(query.get("topic")).toString())
        .get(timeoutMs + 2000, TimeUnit.MILLISECONDS);
    List<CompletableFuture<Void>> parts = new ArrayList<>();
    for (String topic : topics) {
      int at = topic.lastIndexOf("-partition-");
      int partition = at < 0 ? -1 : Integer.parseInt(topic.substring(at + 11));
      CompletableFuture<Void> done = new CompletableFuture<>();
      parts.add(done);
      Thread thread = new Thread(() -> {
        try (Reader<byte[]> reader = client.newReader().topic(topic).startMessageId(MessageId.earliest)
            .receiverQueueSize(queueSize).create()) {
          while (true) {
            if (seen.get() >= count && !reader.hasMessageAvailable()) break;
            Message<byte[]> message = reader.readNext(50, TimeUnit.MILLISECONDS);
            if (message == null) {
              if (System.nanoTime() - lastAt.get() <= TimeUnit.MILLISECONDS.toNanos(timeoutMs)) continue;
              // asking the broker tells silence from a broker that is gone
              if (reader.hasMessageAvailable()) throw new IllegalStateException("messages are there but none came");
              break;
            }
            synchronized (out) {
              writer.write(out, message, partition, topic);
            }
            seen.incrementAndGet();
            lastAt.set(System.nanoTime());
          }
          done.complete(null);
        } catch (Throwable error) {
          done.completeExceptionally(error);
        }
      });
      thread.setDaemon(true);
      thread.start();
    }
    for (CompletableFuture<Void> part : parts) part.get();
  }

  /** Ends after `count` messages, or `timeoutMs` of silence. */
  static void share(Map<String, String> query, HttpExchange exchange, JsonGenerator out) throws Exception {
    long count = Long.parseLong(query.get("count"));
    long timeoutMs = Long.parseLong(query.getOrDefault("timeoutMs", "10000"));
    PulsarClient client = connect(query);
    List<Consumer<byte[]>> consumers = new ArrayList<>();
    try {
      for (int i = 0; i < Integer.parseInt(query.getOrDefault("consumers", "2")); i++) {
        consumers.add(client.newConsumer().topic(query.get("topic")).subscriptionName(query.get("subscription"))
            .subscriptionType(SubscriptionType.Key_Shared).subscribe());
      }
      long seen = 0;
      long lastAt = System.nanoTime();
      while (seen < count && System.nanoTime() - lastAt <= TimeUnit.MILLISECONDS.toNanos(timeoutMs)) {
        for (int i = 0; i < consumers.size(); i++) {
          Message<byte[]> message = consumers.get(i).receive(10, TimeUnit.MILLISECONDS);
          if (message == null) continue;
          consumers.get(i).acknowledge(message);
          out.writeStartObject();
          out.writeNumberField("consumer", i);
          writeFields(out, message, -1, query.get("topic"));
          seen++;
          lastAt = System.nanoTime();
        }
      }
    } finally {
      for (Consumer<byte[]> consumer : consumers) consumer.close();
    }
  }

  static void writeMessage(JsonGenerator out, Message<byte[]> message, int partition, String topic) throws IOException {
    out.writeStartObject();
    writeFields(out, message, partition, topic);
  }

  static void writeFields(JsonGenerator out, Message<byte[]> message, int partition, String topic) throws IOException {
    out.writeStringField("topic", topic);
    out.writeNumberField("partition", partition);
    out.writeStringField("messageId", message.getMessageId().toString());
    out.writeStringField("producerName", message.getProducerName());
    out.writeNumberField("sequenceId", message.getSequenceId());
    out.writeNumberField("publishTime", message.getPublishTime());
    out.writeNumberField("eventTime", message.getEventTime());
    if (message.hasKey()) out.writeStringField("key", message.getKey());
    if (message.hasBase64EncodedKey()) out.writeBooleanField("keyIsBase64", true);
    if (message.hasOrderingKey()) out.writeStringField("orderingKey", base64(message.getOrderingKey()));
    out.writeObjectFieldStart("properties");
    for (Map.Entry<String, String> property : message.getProperties().entrySet()) {
      out.writeStringField(property.getKey(), property.getValue());
    }
    out.writeEndObject();
    byte[] data = message.getData();
    if (data != null) out.writeStringField("data", base64(data));
    out.writeEndObject();
  }

  static void writeSummary(JsonGenerator out, Message<byte[]> message, int partition, String topic) throws Exception {
    byte[] data = message.getData();
    out.writeStartArray();
    out.writeNumber(partition);
    out.writeString(message.getKey());
    out.writeNumber(message.getSequenceId());
    out.writeString(message.getProperty("kinesis.sequence.number"));
    out.writeString(message.getProperty("kinesis.subsequence.number"));
    out.writeNumber(data == null ? 0 : data.length);
    out.writeString(HexFormat.of().formatHex(
        MessageDigest.getInstance("SHA-256").digest(data == null ? new byte[0] : data)));
    out.writeEndArray();
  }

  static void send(Map<String, String> query, HttpExchange exchange, JsonGenerator out) throws Exception {
    ProducerBuilder<byte[]> builder = connect(query).newProducer().topic(query.get("topic"))
        .hashingScheme(HashingScheme.valueOf(query.getOrDefault("hashingScheme", "Murmur3_32Hash")))
        .blockIfQueueFull(true)
        .compressionType(CompressionType.valueOf(query.getOrDefault("compression", "NONE")))
        .enableBatching(!"false".equals(query.get("batching")))
        .batchingMaxPublishDelay(20, TimeUnit.MILLISECONDS);
    if (query.containsKey("producerName")) builder.producerName(query.get("producerName"));
    if ("true".equals(query.get("chunking"))) builder.enableChunking(true);
    try (Producer<byte[]> producer = builder.create();
        BufferedReader lines = new BufferedReader(
            new InputStreamReader(exchange.getRequestBody(), StandardCharsets.UTF_8))) {
      List<CompletableFuture<MessageId>> sent = new ArrayList<>();
      for (String line; (line = lines.readLine()) != null;) {
        if (!line.isBlank()) sent.add(message(producer, MAPPER.readTree(line)).sendAsync());
      }
      producer.flush();
      for (CompletableFuture<MessageId> one : sent) {
        out.writeStartObject();
        out.writeStringField("messageId", one.get().toString());
        out.writeEndObject();
      }
    }
  }

  static TypedMessageBuilder<byte[]> message(Producer<byte[]> producer, JsonNode line) {
    TypedMessageBuilder<byte[]> message = producer.newMessage();
    message.value(line.has("data") ? Base64.getDecoder().decode(line.get("data").asText()) : null);
    if (line.path("keyIsBase64").asBoolean()) {
      message.keyBytes(Base64.getDecoder().decode(line.get("key").asText()));
    } else if (line.has("key")) {
      message.key(line.get("key").asText());
    }
    if (line.has("orderingKey")) message.orderingKey(Base64.getDecoder().decode(line.get("orderingKey").asText()));
    if (line.path("eventTime").asLong() > 0) message.eventTime(line.get("eventTime").asLong());
    if (line.has("sequenceId")) message.sequenceId(line.get("sequenceId").asLong());
    if (line.has("deliverAt")) message.deliverAt(line.get("deliverAt").asLong());
    line.path("properties").fields().forEachRemaining(one -> message.property(one.getKey(), one.getValue().asText()));
    return message;
  }

  static String base64(byte[] bytes) {
    return Base64.getEncoder().encodeToString(bytes);
  }
}
