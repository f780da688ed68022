package org.lifeboat.s3;

import java.net.URI;
import java.net.URISyntaxException;
import java.nio.file.Path;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import org.lifeboat.store.StoreException;
import org.lifeboat.store.StoreUrl;
import software.amazon.awssdk.auth.credentials.AwsBasicCredentials;
import software.amazon.awssdk.auth.credentials.AwsCredentialsProvider;
import software.amazon.awssdk.auth.credentials.AwsSessionCredentials;
import software.amazon.awssdk.auth.credentials.DefaultCredentialsProvider;
import software.amazon.awssdk.auth.credentials.StaticCredentialsProvider;
import software.amazon.awssdk.core.exception.SdkClientException;
import software.amazon.awssdk.profiles.ProfileFile;
import software.amazon.awssdk.profiles.ProfileProperty;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.regions.providers.InstanceProfileRegionProvider;

/**
 * What the environment says about S3.
 *
 * <pre>
 * AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL, AWS_S3_ENDPOINT   another server than Amazon's; the first that is set
 * AWS_REGION, FUSION_AWS_REGION, AWS_DEFAULT_REGION        the region; then the profile's, then us-east-1 with
 *                                                          an endpoint, or the instance's own without
 * AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY,                credentials; otherwise the SDK's standard chain
 *     AWS_SESSION_TOKEN
 * AWS_PROFILE, AWS_CONFIG_FILE,                            the profile
 *     AWS_SHARED_CREDENTIALS_FILE
 * FUSION_AWS_SERVER_SIDE_ENCRYPTION                        AES256 or aws:kms
 * FUSION_AWS_SSEKMS_KEY_ID                                 the key, with aws:kms
 * FUSION_TAGS                                              see {@link ObjectTags}
 * LIFEBOAT_S3_STORAGE_CLASS                                as S3 calls it, such as STANDARD_IA
 * LIFEBOAT_REQUESTER_PAYS                                  on: we pay for what we read of others' buckets that
 *                                                          ask for it
 * </pre>
 *
 * <p>Reading them touches no file and no network; {@link #region()} and {@link #credentials()} do,
 * when they are first needed.
 */
final class S3Settings {

  static final String REQUESTER_PAYS = "LIFEBOAT_REQUESTER_PAYS";

  private final Map<String, String> environment;
  private final Optional<URI> endpoint;
  private final ObjectTags tags;
  private final boolean requesterPays;

  private S3Settings(
      Map<String, String> environment,
      Optional<URI> endpoint,
      ObjectTags tags,
      boolean requesterPays) {
    this.environment = Map.copyOf(environment);
    this.endpoint = endpoint;
    this.tags = tags;
    this.requesterPays = requesterPays;
  }

  /**
   * @throws StoreException of kind INVALID when a value makes no sense
   */
  static S3Settings of(StoreUrl url, Map<String, String> environment) throws StoreException {
    Optional<URI> endpoint = Optional.empty();
    for (String name :
        new String[] {"AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_S3_ENDPOINT"}) {
      String value = environment.getOrDefault(name, "");
      if (!value.isEmpty()) {
        endpoint = Optional.of(endpoint(url, name, value));
        break;
      }
    }
    ObjectTags tags;
    try {
      tags = ObjectTags.parse(environment.getOrDefault("FUSION_TAGS", ""));
    } catch (IllegalArgumentException e) {
      throw invalid(url, "FUSION_TAGS: " + e.getMessage(), "correct or unset it", e);
    }
    String pays = environment.getOrDefault(REQUESTER_PAYS, "");
    boolean requesterPays =
        switch (pays.toLowerCase(Locale.ROOT)) {
          case "on", "true", "1" -> true;
          case "", "off", "false", "0" -> false;
          default ->
              throw invalid(
                  url, REQUESTER_PAYS + " is neither on nor off: " + pays, "write on or off", null);
        };
    return new S3Settings(environment, endpoint, tags, requesterPays);
  }

  private static URI endpoint(StoreUrl url, String name, String value) throws StoreException {
    String remedy = "set it to http://HOST:PORT or https://HOST:PORT";
    String shown = StoreUrl.withoutSecrets(value);
    try {
      URI uri = new URI(value.contains("://") ? value : "https://" + value);
      String scheme = String.valueOf(uri.getScheme()).toLowerCase(Locale.ROOT);
      if (uri.getHost() == null || !(scheme.equals("http") || scheme.equals("https"))) {
        throw invalid(url, name + " is " + shown + ", which is no endpoint", remedy, null);
      }
      return uri;
    } catch (URISyntaxException e) {
      throw invalid(url, name + " is " + shown + ", which is no endpoint", remedy, null);
    }
  }

  private static StoreException invalid(
      StoreUrl url, String detail, String remedy, Throwable cause) {
    return new StoreException(
        StoreException.Kind.INVALID, "open", url.toString(), detail, remedy, cause);
  }

  /** The first of the variables that is set and not empty. */
  private Optional<String> first(String... names) {
    for (String name : names) {
      String value = environment.getOrDefault(name, "");
      if (!value.isEmpty()) {
        return Optional.of(value);
      }
    }
    return Optional.empty();
  }

  Optional<URI> endpoint() {
    return endpoint;
  }

  /** Whether requests name the bucket in the path: every server but Amazon's takes that. */
  boolean pathStyle() {
    return endpoint
        .map(URI::getHost)
        .filter(h -> !h.endsWith(".amazonaws.com") && !h.endsWith(".amazonaws.com.cn"))
        .isPresent();
  }

  /**
   * @throws SdkClientException when no source knows the region
   */
  Region region() {
    Optional<String> named =
        first("AWS_REGION", "FUSION_AWS_REGION", "AWS_DEFAULT_REGION")
            .or(
                () ->
                    profiles()
                        .profile(profileName())
                        .flatMap(profile -> profile.property(ProfileProperty.REGION)));
    if (named.isPresent()) {
      return Region.of(named.get());
    }
    if (endpoint.isPresent()) {
      return Region.US_EAST_1;
    }
    try {
      return new InstanceProfileRegionProvider().getRegion();
    } catch (SdkClientException e) {
      throw SdkClientException.create(
          "no region is set, and no instance metadata service tells one", e);
    }
  }

  AwsCredentialsProvider credentials() {
    Optional<String> id = first("AWS_ACCESS_KEY_ID");
    Optional<String> secret = first("AWS_SECRET_ACCESS_KEY");
    if (id.isPresent() && secret.isPresent()) {
      return StaticCredentialsProvider.create(
          first("AWS_SESSION_TOKEN")
              .<software.amazon.awssdk.auth.credentials.AwsCredentials>map(
                  token -> AwsSessionCredentials.create(id.get(), secret.get(), token))
              .orElseGet(() -> AwsBasicCredentials.create(id.get(), secret.get())));
    }
    return DefaultCredentialsProvider.builder()
        .profileFile(this::profiles)
        .profileName(profileName())
        .build();
  }

  /** What can be done about credentials that have expired. */
  String renewal() {
    return first("AWS_ACCESS_KEY_ID").isPresent() && first("AWS_SECRET_ACCESS_KEY").isPresent()
        ? "they came in AWS_ACCESS_KEY_ID, which cannot be renewed while this runs: start it with"
            + " those of a file (AWS_SHARED_CREDENTIALS_FILE) or of a role, which can"
        : "renew them in " + credentialsFile() + ", or the role's: the next request takes them";
  }

  private Path credentialsFile() {
    return first("AWS_SHARED_CREDENTIALS_FILE")
        .map(Path::of)
        .orElseGet(() -> home().resolve("credentials"));
  }

  private Path home() {
    return Path.of(first("HOME").orElse(System.getProperty("user.home"))).resolve(".aws");
  }

  private String profileName() {
    return first("AWS_PROFILE").orElse("default");
  }

  private ProfileFile profiles() {
    ProfileFile.Aggregator files = ProfileFile.aggregator();
    add(files, credentialsFile(), ProfileFile.Type.CREDENTIALS);
    add(
        files,
        first("AWS_CONFIG_FILE").map(Path::of).orElseGet(() -> home().resolve("config")),
        ProfileFile.Type.CONFIGURATION);
    return files.build();
  }

  private static void add(ProfileFile.Aggregator files, Path path, ProfileFile.Type type) {
    if (java.nio.file.Files.isReadable(path)) {
      files.addFile(ProfileFile.builder().content(path).type(type).build());
    }
  }

  /** Whether we say that we pay for our requests; S3 charges for that only where it is asked. */
  boolean requesterPays() {
    return requesterPays;
  }

  ObjectTags tags() {
    return tags;
  }

  Optional<String> encryption() {
    return first("FUSION_AWS_SERVER_SIDE_ENCRYPTION");
  }

  Optional<String> kmsKey() {
    return first("FUSION_AWS_SSEKMS_KEY_ID");
  }

  Optional<String> storageClass() {
    return first("LIFEBOAT_S3_STORAGE_CLASS");
  }
}
