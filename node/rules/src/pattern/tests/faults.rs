//! Each fault, with its place and what it says.

use super::*;

fn faults(pattern: &str) -> Vec<String> {
    let faults = Pattern::compile(pattern).map(|_| ()).unwrap_err();
    faults.iter().map(ToString::to_string).collect()
}

#[test]
fn each_fault_says_where_it_is_and_what_to_write() {
    for (pattern, expected) in [
        ("[]", r#"a pattern is a JSON object, such as {"data":{"systemProperties":{"TAGS":["paid"]}}}"#),
        ("{\"id\":\n [\"a\",]}", "the pattern is no JSON: line 2, column 7: expected value"),
        (r#"{"data":{}}"#, "data: an empty object names no field: name one, or leave it out"),
        (r#"{"data":{"a":{"b":{}}}}"#, "data.a.b: an empty object names no field: name one, or leave it out"),
        (
            r#"{"userProperties":{"a":["b"]}}"#,
            "userProperties: no event has this attribute; known are id, source, specversion, type, datacontenttype, \
             dataschema, subject, time, aliyunaccountid, aliyuneventbusname, aliyunoriginalaccountid, \
             aliyunpublishaddr, aliyunpublishtime, aliyunregionid; what a message carries is below data",
        ),
        (
            r#"{"id":{"prefix":"a"}}"#,
            r#"id: an attribute is a string and has nothing below it: write an array of values, such as ["a","b"]"#,
        ),
        (r#"{"data":["a"]}"#, r#"data: data is an object: name a field below it, as in {"data":{"topic":["orders"]}}"#),
        (r#"{"id":"a"}"#, r#"id: a field is compared with an array of values: write ["a"]"#),
        (r#"{"data":{"n":1.50}}"#, "data.n: a field is compared with an array of values: write [1.50]"),
        (r#"{"id":[]}"#, r#"id: an empty array matches nothing: write a value into it, or [{"exists":true}] for any"#),
        (r#"{"id":["a",["b"]]}"#, "id[1]: an array is no value: write what is in it directly"),
        (
            r#"{"id":[{"prefix":"a","suffix":"b"}]}"#,
            "id[0]: a condition has one name, here are 2: write several as several objects, of which one must hold",
        ),
        (
            r#"{"id":[{}]}"#,
            "id[0]: a condition has one name, here are 0: write several as several objects, of which one must hold",
        ),
        (
            r#"{"id":[{"wildcard":"a*"}]}"#,
            "id[0].wildcard: no such condition; known are prefix, suffix, contains, anything-but, numeric, cidr, exists",
        ),
        (r#"{"id":[{"prefix":1}]}"#, "id[0].prefix: this condition wants a string"),
        (
            r#"{"id":[{"contains":""}]}"#,
            r#"id[0].contains: the empty string is part of every string: write [{"exists":true}] for any, or [""] for the empty one"#,
        ),
        (
            r#"{"id":[{"anything-but":["a",["b"]]}]}"#,
            r#"id[0].anything-but[1]: anything-but wants a value, an array of values, {"prefix":"a"} or {"suffix":"a"}"#,
        ),
        (
            r#"{"id":[{"anything-but":{"contains":"a"}}]}"#,
            r#"id[0].anything-but.contains: anything-but wants a value, an array of values, {"prefix":"a"} or {"suffix":"a"}"#,
        ),
        (
            r#"{"id":[{"anything-but":{}}]}"#,
            "id[0].anything-but: a condition has one name, here are 0: write several as several objects, of which one \
             must hold",
        ),
        (r#"{"id":[{"anything-but":{"suffix":null}}]}"#, "id[0].anything-but.suffix: this condition wants a string"),
        (
            r#"{"id":[{"numeric":5}]}"#,
            r#"id[0].numeric: numeric wants one or two comparisons: write [">",0] or [">",0,"<=",5]"#,
        ),
        (
            r#"{"id":[{"numeric":[">",0,"<"]}]}"#,
            r#"id[0].numeric: numeric wants one or two comparisons: write [">",0] or [">",0,"<=",5]"#,
        ),
        (
            r#"{"id":[{"numeric":["=>",0]}]}"#,
            r#"id[0].numeric[0]: a comparison is one of "=", "!=", "<", "<=", ">", ">=""#,
        ),
        (r#"{"id":[{"numeric":[">","0"]}]}"#, "id[0].numeric[1]: a comparison wants a number, without quotes"),
        (
            r#"{"id":[{"numeric":[">",0,"<",1000000001]}]}"#,
            "id[0].numeric[3]: a comparison wants a number between -1.0e9 and 1.0e9",
        ),
        (
            r#"{"id":[{"cidr":"10.0.0.0/33"}]}"#,
            "id[0].cidr: an address block is a string such as 10.0.0.0/24 or 2001:db8::/32; an address alone stands for itself",
        ),
        (
            r#"{"id":[{"cidr":8}]}"#,
            "id[0].cidr: an address block is a string such as 10.0.0.0/24 or 2001:db8::/32; an address alone stands for itself",
        ),
        (r#"{"id":[{"exists":"true"}]}"#, "id[0].exists: exists wants true or false, without quotes"),
        (
            r#"{"data":{"a":["1"],"b":["2"],"a":["3"]}}"#,
            "data.a: the name stands twice in its object: join the values in one array",
        ),
        (
            r#"{"data":{"x.y":{"":{"a\"b":5}}}}"#,
            r#"data["x.y"][""]["a\"b"]: a field is compared with an array of values: write [5]"#,
        ),
    ] {
        assert_eq!(faults(pattern), [expected], "{pattern}");
    }
}

#[test]
fn all_faults_are_told_in_their_order() {
    let pattern =
        r#"{"nosuch":[1],"id":"a","data":{"x":[{"prefix":""},"ok",{"numeric":["~","1","<",2e9]}],"y":{},"z":[]}}"#;
    let places: Vec<_> = Pattern::compile(pattern).unwrap_err().into_iter().map(|fault| fault.path).collect();
    let numeric = ["data.x[2].numeric[0]", "data.x[2].numeric[1]", "data.x[2].numeric[3]"];
    assert_eq!(places, [&["nosuch", "id", "data.x[0].prefix"][..], &numeric, &["data.y", "data.z"]].concat());
    let many = format!(r#"{{"data":{{"x":[{}[]]}}}}"#, "[],".repeat(1000));
    assert_eq!(Pattern::compile(&many).unwrap_err().len(), MAXIMUM_FAULTS);
}

#[test]
fn patterns_have_limits() {
    let of_length = |length: usize| format!(r#"{{"id":["{}"]}}"#, "x".repeat(length - 11));
    assert!(Pattern::compile(&of_length(MAXIMUM_PATTERN_BYTES)).is_ok());
    let long = of_length(MAXIMUM_PATTERN_BYTES + 1);
    assert_eq!(faults(&long), ["a pattern of 10241 bytes is longer than 10240"]);
    let of_depth = |depth: usize| {
        let names = depth - 1;
        format!(r#"{{"data":{}["a"]{}}}"#, r#"{"x":"#.repeat(names), "}".repeat(names))
    };
    assert!(Pattern::compile(&of_depth(MAXIMUM_DEPTH)).is_ok());
    let [fault] = Pattern::compile(&of_depth(MAXIMUM_DEPTH + 1)).unwrap_err().try_into().unwrap();
    assert_eq!((fault.problem, fault.path.matches(".x").count()), (Problem::TooDeep, MAXIMUM_DEPTH));
    let endless = "[".repeat(MAXIMUM_PATTERN_BYTES);
    assert!(matches!(Pattern::compile(&endless).unwrap_err()[0].problem, Problem::Syntax(_)));
}

#[test]
fn a_mismatch_names_the_field_its_value_and_what_was_wanted() {
    let explain = |pattern: &str, event: &str| {
        let mismatch = Pattern::compile(pattern).unwrap().explain(&Json::parse(event).unwrap()).unwrap();
        mismatch.map(|mismatch| mismatch.to_string())
    };
    let pattern = r#"{"data":{"userProperties":{"a.b":["x",{"prefix":"cn-"}]}}}"#;
    for (event, expected) in [
        (
            r#"{"data":{"userProperties":{"a.b":"us"}}}"#,
            Some(r#"data.userProperties["a.b"] is "us" and matches nothing of ["x",{"prefix":"cn-"}]"#),
        ),
        (
            "{}",
            Some(
                r#"data.userProperties["a.b"] is missing; ["x",{"prefix":"cn-"}] has no {"exists":false}, which alone matches that"#,
            ),
        ),
        (r#"{"data":{"userProperties":{"a.b":"cn-1"}}}"#, None),
    ] {
        assert_eq!(explain(pattern, event).as_deref(), expected, "{event}");
    }
    let body_first = r#"{"data":{"body":["x"],"topic":["t"]}}"#;
    let found = explain(body_first, r#"{"data":{"body":"y","topic":"z"}}"#).unwrap();
    assert_eq!(found, r#"data.topic is "z" and matches nothing of ["t"]"#, "the body comes last");
    let long = format!(r#"{{"id":"{}"}}"#, "x".repeat(1000));
    let mismatch = Pattern::compile(r#"{"id":["y"]}"#).unwrap().explain(&Json::parse(&long).unwrap()).unwrap();
    assert_eq!(mismatch.unwrap().found.unwrap().len(), MAXIMUM_SHOWN_BYTES);
}
