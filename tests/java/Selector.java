import java.io.BufferedReader;
import java.io.BufferedWriter;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.OutputStreamWriter;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.Map;
import org.apache.rocketmq.broker.filter.MessageEvaluationContext;
import org.apache.rocketmq.common.filter.ExpressionType;
import org.apache.rocketmq.filter.FilterFactory;
import org.apache.rocketmq.filter.expression.Expression;
import org.apache.rocketmq.filter.expression.MQFilterException;
import org.apache.rocketmq.filter.parser.SelectorParser;
import org.apache.rocketmq.filter.parser.SelectorParserConstants;

/**
 * Says what Apache's SQL92 filter makes of expressions. Needs the libraries of a broker.
 *
 * <p>Reads a case per line: the expression, then the properties as name=value, separated by tabs; the expression, names
 * and values are hexadecimal UTF-8. Prints a verdict per line: REFUSED if the expression does not compile, TRUE, FALSE
 * or UNKNOWN for its value (a broker delivers the message for TRUE only), FAILED if the evaluation throws. " rest"
 * follows when the parser stopped before the end of the expression.
 */
public final class Selector {
    private Selector() {
    }

    public static void main(String[] args) throws IOException {
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.US_ASCII));
        BufferedWriter out = new BufferedWriter(new OutputStreamWriter(System.out, StandardCharsets.US_ASCII));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            String[] fields = line.split("\t", -1);
            Map<String, String> properties = new HashMap<>();
            for (int i = 1; i < fields.length; i++) {
                int equals = fields[i].indexOf('=');
                properties.put(text(fields[i].substring(0, equals)), text(fields[i].substring(equals + 1)));
            }
            out.write(verdict(text(fields[0]), properties));
            out.newLine();
        }
        out.flush();
    }

    private static String text(String hexadecimal) {
        return new String(HexFormat.of().parseHex(hexadecimal), StandardCharsets.UTF_8);
    }

    private static String verdict(String text, Map<String, String> properties) {
        Expression expression;
        try {
            expression = FilterFactory.INSTANCE.get(ExpressionType.SQL92).compile(text);
        } catch (Throwable refused) {
            return "REFUSED";
        }
        String rest = new Parser(text).stopsEarly() ? " rest" : "";
        Object value;
        try {
            value = expression.evaluate(new MessageEvaluationContext(properties));
        } catch (Throwable failed) {
            return "FAILED" + rest;
        }
        // The broker delivers a message for Boolean.TRUE; anything that is no Boolean counts as unknown.
        return (value instanceof Boolean ? value.toString().toUpperCase() : "UNKNOWN") + rest;
    }

    /** The parser itself, to see where it stops. */
    private static final class Parser extends SelectorParser {
        Parser(String text) {
            super(text);
        }

        boolean stopsEarly() {
            try {
                parse();
            } catch (MQFilterException refused) {
                throw new IllegalStateException("the text compiled before", refused);
            }
            return getNextToken().kind != SelectorParserConstants.EOF;
        }
    }
}
