package org.lifeboat.s3;

import java.util.EnumSet;
import java.util.Set;
import java.util.regex.Pattern;
import org.lifeboat.store.StoreCall.Operation;

/**
 * What goes wrong with which requests of a {@link FaultProxy}. As text, so that it can be told to a
 * proxy in another process, it is a line of words {@code name=value}:
 *
 * <pre>
 * fault=STALL_REPLY op=PUT,PART key=\.pack$ nth=2 times=3 share=0.5 credential=OLD status=503 code=SlowDown millis=2000 rate=1000
 * </pre>
 *
 * @param operations of which kinds; all when it is empty
 * @param key found in the path behind the bucket
 * @param credential found in the Authorization header or in the session token
 * @param nth from the n-th request on that matches, 1 for the first
 * @param times how many requests at most
 * @param share of those that match, by the proxy's seed
 * @param status the reply's, for those faults that have one
 * @param code S3's code in that reply
 * @param millis how long a stall lasts, 0 for ever; of {@link Fault#SKEWED} how far the server's
 *     clock is ahead
 * @param rate bytes a second of {@link Fault#SLOW}
 */
public record FaultRule(
    Fault fault,
    Set<Operation> operations,
    Pattern key,
    Pattern credential,
    int nth,
    int times,
    double share,
    int status,
    String code,
    long millis,
    long rate) {

  /** What goes wrong. */
  public enum Fault {
    /** An error is the answer, and nothing was done. */
    STATUS,
    /** It was done, and an error is the answer. */
    APPLIED_STATUS,
    /** It was not done, the status is 200, and an error stands in the body: S3 does that. */
    ERROR_IN_BODY,
    /** The connection is reset when the request's head has come; nothing is done. */
    RESET,
    /** It was done, and the connection is reset in place of a reply. */
    REPLY_LOST,
    /** Nothing is read behind the request's head, and nothing is done as long as that lasts. */
    STALL_REQUEST,
    /** It was done, and no reply comes. */
    STALL_REPLY,
    /** It was done, and the reply stops in the middle of its body, or of its head without one. */
    STALL_BODY,
    /** It was done, and the connection ends in the middle of the reply's head. */
    CUT_HEAD,
    /** It was done, and the connection ends in the middle of the reply's body. */
    CUT_BODY,
    /** The server gets half of the request's body and then the connection's end. */
    CUT_UPLOAD,
    /** Bodies come a few bytes at a time. */
    SLOW,
    /** Requests with another time than the server's are refused, with the server's time. */
    SKEWED
  }

  private static final Pattern ANY = Pattern.compile("");

  /** From such a line. */
  public static FaultRule parse(String line) {
    Fault fault = null;
    Set<Operation> operations = EnumSet.noneOf(Operation.class);
    Pattern key = ANY;
    Pattern credential = ANY;
    int nth = 1;
    int times = Integer.MAX_VALUE;
    double share = 1;
    int status = 500;
    String code = "InternalError";
    long millis = 0;
    long rate = 1000;
    for (String word : line.strip().split(" +", -1)) {
      int equals = word.indexOf('=');
      String value = word.substring(equals + 1);
      switch (word.substring(0, Math.max(0, equals))) {
        case "fault" -> fault = Fault.valueOf(value);
        case "op" -> {
          for (String name : value.split(",", -1)) {
            operations.add(Operation.valueOf(name));
          }
        }
        case "key" -> key = Pattern.compile(value);
        case "credential" -> credential = Pattern.compile(value);
        case "nth" -> nth = Integer.parseInt(value);
        case "times" -> times = Integer.parseInt(value);
        case "share" -> share = Double.parseDouble(value);
        case "status" -> status = Integer.parseInt(value);
        case "code" -> code = value;
        case "millis" -> millis = Long.parseLong(value);
        case "rate" -> rate = Long.parseLong(value);
        default -> throw new IllegalArgumentException(word + " in " + line);
      }
    }
    if (fault == null) {
      throw new IllegalArgumentException("no fault in " + line);
    }
    return new FaultRule(
        fault, operations, key, credential, nth, times, share, status, code, millis, rate);
  }
}
