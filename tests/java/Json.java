import java.util.Map;
import java.util.TreeMap;

/** Writes one flat JSON object, in the order in which the fields are put. */
final class Json {
    private final StringBuilder out = new StringBuilder("{");

    Json put(String name, long value) {
        key(name).append(value);
        return this;
    }

    Json put(String name, double value) {
        key(name).append(value);
        return this;
    }

    Json put(String name, boolean value) {
        key(name).append(value);
        return this;
    }

    Json put(String name, String value) {
        key(name);
        if (value == null) {
            out.append("null");
        } else {
            quote(value);
        }
        return this;
    }

    Json put(String name, Map<String, String> value) {
        Json inner = new Json();
        new TreeMap<>(value).forEach(inner::put);
        key(name).append(inner);
        return this;
    }

    private StringBuilder key(String name) {
        if (out.length() > 1) {
            out.append(',');
        }
        quote(name);
        return out.append(':');
    }

    /** Escapes everything outside ASCII too, so that unpaired surrogates survive as escapes. */
    private void quote(String text) {
        out.append('"');
        for (int i = 0; i < text.length(); i++) {
            char c = text.charAt(i);
            if (c == '"' || c == '\\') {
                out.append('\\').append(c);
            } else if (c < 0x20 || c > 0x7e) {
                out.append(String.format("\\u%04x", (int) c));
            } else {
                out.append(c);
            }
        }
        out.append('"');
    }

    @Override
    public String toString() {
        return out + "}";
    }
}
