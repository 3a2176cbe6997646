package tledge.core;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** JSON as Map, List, String, Double, Boolean and null: org.json is part of Android and not of Java. */
final class Json {
    private static final Pattern TOKEN = Pattern.compile(
            "\\s*+(\"[^\"\\\\]*+(?:\\\\.[^\"\\\\]*+)*+\"|[{}\\[\\]:,]|[^\\s{}\\[\\]:,\"]++|$)");
    private final Matcher tokens;
    private String token;

    private Json(String text) {
        tokens = TOKEN.matcher(text);
        advance();
    }

    /** The value of a JSON text; throws IllegalArgumentException where it is none. */
    static Object parse(String text) {
        Json json = new Json(text);
        Object value = json.value();
        json.take("");
        return value;
    }

    private Object value() {
        if (token.equals("{")) return object();
        if (token.equals("[")) return list();
        if (token.startsWith("\"")) return string();
        String word = advance();
        if (word.equals("null")) return null;
        return word.equals("true") || word.equals("false") ? (Object) word.equals("true") : Double.valueOf(word);
    }

    private Map<String, Object> object() {
        Map<String, Object> made = new LinkedHashMap<>();
        for (take("{"); !token.equals("}"); ) {
            if (!made.isEmpty()) take(",");
            String key = string();
            take(":");
            made.put(key, value());
        }
        take("}");
        return made;
    }

    private List<Object> list() {
        List<Object> made = new ArrayList<>();
        for (take("["); !token.equals("]"); ) {
            if (!made.isEmpty()) take(",");
            made.add(value());
        }
        take("]");
        return made;
    }

    private String string() {
        String quoted = advance();
        StringBuilder made = new StringBuilder();
        for (int at = 1; at < quoted.length() - 1; at++) {
            int escape = quoted.charAt(at) == '\\' ? "\"\\/bfnrtu".indexOf(quoted.charAt(++at)) : -1;
            if (escape < 0) made.append(quoted.charAt(at));
            else if (escape < 8) made.append("\"\\/\b\f\n\r\t".charAt(escape));
            else made.append((char) Integer.parseInt(quoted.substring(at + 1, (at += 4) + 1), 16));
        }
        return made.toString();
    }

    private void take(String wanted) {
        if (!token.equals(wanted)) throw new IllegalArgumentException("expected " + wanted + ", got " + token);
        advance();
    }

    /** Moves on by one token; gives the one before. An unended string is no token. */
    private String advance() {
        String before = token;
        if (!tokens.lookingAt()) throw new IllegalArgumentException("not JSON after " + before);
        token = tokens.group(1);
        tokens.region(tokens.end(), tokens.regionEnd());
        return before;
    }
}
