// What a killed broker had registered in its metadata, forgotten before the next one starts on them.
//
// RocksDB keeps the ephemeral nodes of a killed process; Pulsar deletes one when it meets it. When it meets the bookie's
// while that bookie registers anew, the late news of the deletion makes the new registration delete and make itself
// again, which is such news in its turn: it goes round for ever (ResourceLockImpl of 4.0.7), and topics meet "Not enough
// non-faulty bookies" at every turn. Where nothing is left to be deleted, nothing goes round.
//
// Usage: java ForgetKilled.java METADATA_DIR, with Pulsar's jars in CLASSPATH

import java.util.concurrent.TimeUnit;
import org.apache.pulsar.metadata.api.MetadataStore;
import org.apache.pulsar.metadata.api.MetadataStoreConfig;
import org.apache.pulsar.metadata.api.MetadataStoreFactory;

public class ForgetKilled {
  public static void main(String[] args) throws Exception {
    MetadataStore store = MetadataStoreFactory.create(
        "rocksdb://" + args[0], MetadataStoreConfig.builder().build());
    // to list children, the store goes through all that lies below and deletes what belongs to an earlier instance
    store.getChildren("/").get(60, TimeUnit.SECONDS);
    store.close();
    System.exit(0); // no thread of the store's may hold it up
  }
}
