//! For zsh.

use std::fmt::Write as _;

use super::{Registry, places, quoted};

/// The completion script for a program of this name.
pub(crate) fn script(program: &str, registry: &Registry) -> String {
    let mut arms = String::new();
    for place in places(registry) {
        let subcommands: Vec<String> =
            place.subcommands.iter().map(|(name, line)| quoted(&described(name, line))).collect();
        let flags: Vec<String> =
            place.flags.iter().map(|flag| quoted(&described(&flag.dashed(), flag.description))).collect();
        let valued: Vec<String> =
            place.flags.iter().filter(|flag| flag.takes_value).map(super::Flag::dashed).collect();
        let _ = writeln!(
            arms,
            "    {})\n      subs=({})\n      flags=({} $flags)\n      valued+=({})\n      files={}\n      ;;",
            quoted(&place.path),
            subcommands.join(" "),
            flags.join(" "),
            valued.join(" "),
            u8::from(place.files)
        );
    }
    format!(
        r#"#compdef {program}
# Completions of {program} for zsh.
_{program}_place() {{
  subs=()
  case "$1" in
{arms}  esac
}}
_{program}() {{
  local path_words='' word skip=0 files=0 i
  local -a subs flags valued
  _{program}_place ''
  for ((i = 2; i < CURRENT; i++)); do
    word="${{words[i]}}"
    if ((skip)); then skip=0; continue; fi
    case "$word" in
      -*) (( ${{valued[(Ie)$word]}} )) && skip=1 ;;
      *)
        if (( ${{subs[(I)$word:*]}} )); then
          path_words="${{path_words:+$path_words }}$word"
          _{program}_place "$path_words"
        fi
        ;;
    esac
  done
  if ((skip)); then _files; return; fi
  if [[ "${{words[CURRENT]}}" == -* ]]; then
    _describe 'option' flags
    return
  fi
  (( ${{#subs}} )) && _describe 'command' subs
  ((files)) && _files
}}
if [[ "${{funcstack[1]}}" == _{program} ]]; then _{program} "$@"; else compdef _{program} {program}; fi
"#
    )
}

/// A word and its line, in the form of `_describe`.
fn described(word: &str, line: &str) -> String {
    format!("{word}:{}", line.replace(':', "\\:"))
}
